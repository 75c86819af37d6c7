import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { RunView, StackView } from '#core/domain/view.ts';
import type { Cloud } from './cloud.ts';
import type { Installation } from './installation.ts';
import { VICTIMS, type Victim } from './victims.ts';

/** Where in a run's life the kill falls. */
export const MOMENTS = [
  'verifying',
  'fetching',
  'planning',
  'awaiting_approval',
  'approved',
  'applying',
  'drift',
] as const;
export type Moment = (typeof MOMENTS)[number];

export interface KillReport {
  number: number;
  victim: Victim;
  moment: Moment;
  /** What was killed; undefined when the moment had no such process. */
  killed: string | undefined;
  /** Named questions that were answered on the way. */
  questions: string[];
  seconds: number;
}

const CONVERGE_MS = 240_000;
const MOMENT_MS = 45_000;
const base = '/v1/tenants/default/stacks/soak';

/** A small seeded generator (mulberry32), so that a soak can be played again. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Every victim in every moment it can be in, shuffled; repeated until there are enough. */
export function killPlan(count: number, random: () => number): { victim: Victim; moment: Moment }[] {
  const inRun = new Set<Victim>(['guardian', 'engine', 'program', 'provider']);
  const all = VICTIMS.flatMap((victim) =>
    MOMENTS.filter((moment) => !inRun.has(victim) || ['planning', 'applying', 'drift'].includes(moment)).map(
      (moment) => ({ victim, moment }),
    ),
  );
  const shuffled = all
    .map((kill) => ({ kill, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ kill }) => kill);
  return Array.from({ length: count }, (_, index) => shuffled[index % shuffled.length]).filter(
    (kill) => kill !== undefined,
  );
}

/** The next version: one object more, one changed, and now and then one less. */
export function nextDesired(
  desired: Record<string, number>,
  number: number,
  random: () => number,
): Record<string, number> {
  const names = Object.keys(desired);
  const changed = names[Math.floor(random() * names.length)];
  const gone = names.length > 4 ? names[Math.floor(random() * names.length)] : undefined;
  const next = { ...desired, [`n${number}`]: 1, ...(changed && { [changed]: (desired[changed] ?? 0) + 1 }) };
  return Object.fromEntries(Object.entries(next).filter(([name]) => name !== gone));
}

async function untilMoment(databaseUrl: string, moment: Moment, digest: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: databaseUrl, connectionTimeoutMillis: 5000 });
  client.on('error', () => undefined);
  await client.connect();
  const sql =
    moment === 'drift'
      ? "select 1 from runs where operation = 'drift' and state = 'planning'"
      : "select 1 from runs where operation <> 'drift' and state = $1 and digest = $2";
  try {
    const end = performance.now() + MOMENT_MS;
    while (performance.now() < end) {
      const { rowCount } = await client.query(sql, moment === 'drift' ? [] : [moment, digest]);
      if (rowCount !== 0) return true;
      await delay(15);
    }
    return false;
  } finally {
    await client.end();
  }
}

/** What a person would do: approve what waits, and answer the questions Plumbline asks, looking at the cloud. */
async function attend(parts: { installation: Installation; cloud: Cloud }, questions: string[]): Promise<StackView> {
  const { api } = parts.installation;
  const view = await api.ask<StackView>('GET', base);
  const run = view.liveRun;
  if (run?.state === 'awaiting_approval')
    await api.request('POST', `${base}/runs/${run.number}/approve`, { planDigest: run.planDigest });
  const reasons = view.status.conditions.map((condition) => `${condition.type}/${condition.reason}`);
  if (reasons.some((reason) => reason.endsWith('/HolderUnknown'))) {
    questions.push('HolderUnknown');
    await api.request('POST', `${base}/unlock`, { confirmDead: true });
  }
  if (view.status.pendingOperations > 0) await answerPending(parts, questions);
  return view;
}

async function answerPending(
  { installation: { api }, cloud }: { installation: Installation; cloud: Cloud },
  questions: string[],
): Promise<void> {
  const { operations, answers } = await api.ask<{ operations: { urn: string }[]; answers: { urn: string }[] }>(
    'GET',
    `${base}/pending`,
  );
  for (const { urn } of operations) {
    if (answers.some((answer) => answer.urn === urn)) continue;
    const name = urn.split('::').at(-1);
    const made = [...cloud.objects].find(([, object]) => object.name === name);
    questions.push(made === undefined ? `clear ${name}` : `import ${name}`);
    await api.ask(
      'POST',
      `${base}/pending`,
      made === undefined ? { urn, answer: 'clear' } : { urn, answer: 'import', id: made[0] },
    );
  }
}

async function converge(parts: { installation: Installation; cloud: Cloud }, digest: string): Promise<string[]> {
  const questions: string[] = [];
  const end = performance.now() + CONVERGE_MS;
  let last = '';
  while (performance.now() < end) {
    try {
      const view = await attend(parts, questions);
      last = view.why;
      const ready = view.status.conditions.find((condition) => condition.type === 'Ready')?.status === 'True';
      if (ready && view.status.applied?.digest === digest && view.liveRun === null) return questions;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    await delay(150);
  }
  const runs = await parts.installation.api.ask<{ items: RunView[] }>('GET', `${base}/runs?limit=5`);
  const tail = runs.items.map((run) => `${run.number} ${run.operation} ${run.state}: ${run.message}`).join('\n');
  throw new Error(`the story did not go on within ${CONVERGE_MS / 1000} s: ${last}\n${tail}`);
}

interface StateResource {
  id?: string;
  type: string;
  inputs?: { name?: string; size?: number };
}

/** What a checkpoint of the file backend holds, as far as it is looked at. */
interface StateFile {
  checkpoint: { latest: { resources?: StateResource[]; pending_operations?: unknown[] } };
}

/** Holds the cloud, the provider's log and the state against what is desired: nothing lost, nothing doubled. */
export async function checkWorld(stateDir: string, cloud: Cloud, desired: Record<string, number>): Promise<void> {
  const names = [...cloud.objects.values()].map((object) => object.name).sort();
  const wanted = Object.keys(desired).sort();
  if (JSON.stringify(names) !== JSON.stringify(wanted))
    throw new Error(`the cloud holds ${names.join()} and not ${wanted.join()}`);
  const wrong = [...cloud.objects.values()].find((object) => desired[object.name] !== object.size);
  if (wrong !== undefined) throw new Error(`${wrong.name} has size ${wrong.size} and not ${desired[wrong.name]}`);
  const file = JSON.parse(await readFile(join(stateDir, '.pulumi/stacks/soak/prod.json'), 'utf8')) as StateFile;
  const { resources = [], pending_operations: pending = [] } = file.checkpoint.latest;
  const ids = resources
    .filter((resource) => resource.type.startsWith('pulumi-nodejs:dynamic'))
    .map((resource) => resource.id ?? '')
    .sort();
  const real = [...cloud.objects.keys()].sort();
  if (JSON.stringify(ids) !== JSON.stringify(real))
    throw new Error(`the state knows ${ids.join()} and the cloud holds ${real.join()}`);
  if (pending.length > 0) throw new Error(`the state has ${pending.length} pending operations`);
}

/** One version, one kill, and the story to its end. */
export async function playKill(
  parts: { installation: Installation; cloud: Cloud },
  kill: { number: number; victim: Victim; moment: Moment; desired: Record<string, number> },
  random: () => number,
): Promise<KillReport> {
  const from = performance.now();
  const { installation, cloud } = parts;
  const digest = await installation.push(kill.desired);
  const approving =
    kill.moment === 'approved' || kill.moment === 'applying'
      ? converge(parts, digest).catch(() => undefined)
      : undefined;
  await untilMoment(installation.databaseUrl, kill.moment, digest);
  // An apply takes seconds: the kill falls anywhere in it.
  await delay(random() * (kill.moment === 'applying' ? 4000 : 400));
  const killed = await installation.kill(kill.victim);
  await approving;
  const questions = await converge(parts, digest);
  await checkWorld(installation.stateDir, cloud, kill.desired);
  const { number, victim, moment } = kill;
  return { number, victim, moment, killed, questions, seconds: (performance.now() - from) / 1000 };
}
