import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { EventView, PendingView, RunView, StackView } from '#core/domain/view.ts';
import type { Api } from '../../scripts/demo/api.ts';
import type { Cloud } from './cloud.ts';
import type { Installation } from './installation.ts';
import type { Desired } from './kills.ts';

/** One stack of the soak: its wishes, and what a person has been asked about it. */
export interface Story {
  stack: string;
  /** Answers given, `import n3` or `clear n3`, and `unlock`. */
  questions: string[];
  /** Pushes a version. */
  push(desired: Desired): Promise<void>;
  /** Does what a person would, until the version is applied; `meanwhile` is called between two looks. @throws Error when stuck. */
  converge(meanwhile: () => void): Promise<void>;
  /** Holds cloud, state and diary against the wish. @throws Error naming the first thing lost, doubled or applied blindly. */
  check(): Promise<void>;
}

const CONVERGE_MS = 300_000;
const LOOK_MS = 250;

/** A cloud object that the state does not know and bears the name: it was made, and nobody wrote it down. */
async function unrecorded(stateDir: string, cloud: Cloud, stack: string, name: string): Promise<string | undefined> {
  const known = new Set((await readState(stateDir, stack)).resources.map((resource) => resource.id));
  return [...cloud.objects(stack)].find(([id, object]) => object.name === name && !known.has(id))?.[0];
}

async function answerPending(installation: Installation, cloud: Cloud, stack: string): Promise<string[]> {
  const path = `/v1/tenants/default/stacks/${stack}/pending`;
  const { operations, answers } = await installation.api.ask<PendingView>('GET', path);
  const said: string[] = [];
  for (const { urn } of operations) {
    if (answers.some((answer) => answer.urn === urn)) continue;
    const name = urn.split('::').at(-1) ?? '';
    const id = await unrecorded(installation.stateDir, cloud, stack, name);
    await installation.api.ask(
      'POST',
      path,
      id === undefined ? { urn, answer: 'clear' } : { urn, answer: 'import', id },
    );
    said.push(id === undefined ? `clear ${name}` : `import ${name}`);
  }
  return said;
}

interface StateResource {
  id?: string;
  type: string;
  delete?: boolean;
}

/** What a checkpoint of the file backend holds, as far as it is looked at. */
interface StateFile {
  checkpoint: { latest?: { resources?: StateResource[]; pending_operations?: unknown[] } | null };
}

async function readState(stateDir: string, stack: string) {
  const text = await readFile(join(stateDir, `.pulumi/stacks/soak/${stack}.json`), 'utf8');
  const { latest } = (JSON.parse(text) as StateFile).checkpoint;
  const resources = (latest?.resources ?? []).filter(({ type }) => type.startsWith('pulumi-nodejs:dynamic'));
  return { resources, pending: latest?.pending_operations ?? [] };
}

function differences(cloud: Map<string, { name: string; size: number; zone: number }>, desired: Desired): string[] {
  const real = [...cloud.values()].map(({ name, size, zone }) => `${name} ${size} ${zone}`).toSorted();
  const wanted = Object.entries(desired)
    .map(([name, { size, zone }]) => `${name} ${size} ${zone}`)
    .toSorted();
  return JSON.stringify(real) === JSON.stringify(wanted)
    ? []
    : [`the cloud holds [${real.join()}] and not [${wanted.join()}]`];
}

async function checkWorld(stateDir: string, cloud: Cloud, stack: string, desired: Desired): Promise<void> {
  const objects = cloud.objects(stack);
  const { resources, pending } = await readState(stateDir, stack);
  const ids = resources.map((resource) => resource.id ?? '').toSorted();
  const real = [...objects.keys()].toSorted();
  const wrong = [
    ...cloud.violations,
    ...differences(objects, desired),
    ...(JSON.stringify(ids) === JSON.stringify(real) ? [] : [`the state knows ${ids.join()} of ${real.join()}`]),
    ...(pending.length === 0 ? [] : [`the state has ${pending.length} pending operations`]),
  ];
  if (wrong.length > 0) throw new Error(`${stack}: ${wrong.join('; ')}`);
}

/** Every apply began once, from a plan of its own: no run is applied a second time. */
async function checkApplies(api: Api, stack: string): Promise<void> {
  const page = await api.ask<{ items: EventView[] }>('GET', `/v1/tenants/default/events?stack=${stack}&limit=200`);
  const begun = page.items.filter(({ type }) => type === 'ApplyStarted').map(({ message }) => message);
  const twice = begun.find((message, index) => begun.indexOf(message) !== index);
  if (twice !== undefined) throw new Error(`${stack}: begun twice: ${twice}`);
}

/** Makes the story of one stack. */
export function createStory(installation: Installation, cloud: Cloud, stack: string): Story {
  const { api } = installation;
  const base = `/v1/tenants/default/stacks/${stack}`;
  const questions: string[] = [];
  let wanted: { digest: string; desired: Desired } = { digest: '', desired: {} };

  /** What a person would do: approve what waits, and answer what is asked, looking at the cloud. */
  async function attend(): Promise<StackView> {
    const view = await api.ask<StackView>('GET', base);
    const run = view.liveRun;
    if (run?.state === 'awaiting_approval')
      await api.request('POST', `${base}/runs/${run.number}/approve`, { planDigest: run.planDigest });
    if (view.status.conditions.some(({ type, reason }) => type === 'Stalled' && reason === 'HolderUnknown')) {
      questions.push('unlock');
      await api.request('POST', `${base}/unlock`, { confirmDead: true });
    }
    if (view.status.pendingOperations > 0) questions.push(...(await answerPending(installation, cloud, stack)));
    return view;
  }

  async function stuck(why: string): Promise<Error> {
    const runs = await api.ask<{ items: RunView[] }>('GET', `${base}/runs?limit=5`);
    const tail = runs.items.map((run) => `${run.number} ${run.operation} ${run.state}: ${run.message}`).join('\n');
    return new Error(`${stack} did not go on within ${CONVERGE_MS / 1000} s: ${why}\n${tail}`);
  }

  return {
    stack,
    questions,
    async push(desired) {
      for (let attempt = 1; ; attempt += 1) {
        try {
          wanted = { digest: await installation.push(stack, desired), desired };
          return;
        } catch (error) {
          // The registry may be one of those that were killed.
          if (attempt === 20) throw error;
          await delay(LOOK_MS);
        }
      }
    },
    async converge(meanwhile) {
      const end = performance.now() + CONVERGE_MS;
      let last = '';
      while (performance.now() < end) {
        try {
          const view = await attend();
          last = view.why;
          const ready = view.status.conditions.find((condition) => condition.type === 'Ready')?.status === 'True';
          if (ready && view.status.applied?.digest === wanted.digest && view.liveRun === null) return;
        } catch (error) {
          last = error instanceof Error ? error.message : String(error);
        }
        meanwhile();
        await delay(LOOK_MS);
      }
      throw await stuck(last);
    },
    async check() {
      await checkWorld(installation.stateDir, cloud, stack, wanted.desired);
      await checkApplies(api, stack);
    },
  };
}
