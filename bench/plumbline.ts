import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { ApplyResultView, RunView, StackView } from '#core/domain/view.ts';
import { manifest, runDetail } from '../scripts/demo/api.ts';
import type { Parts } from '../scripts/demo/processes.ts';
import { REPOSITORY, TAG, type Revision } from './revisions.ts';

const STACK = 'bench';
const base = `/v1/tenants/default/stacks/${STACK}`;
const LIMIT_MS = 120_000;
/** The stack's drift interval is an hour: a check that is due later than this has been made, and not put off. */
const FAR_MS = 30 * 60_000;

/** One request to the bench's own receiver, as the registry would send it; every one has an id of its own. */
export interface Hook {
  path: string;
  headers: Record<string, string>;
  body(): string;
}

/** The stack under measurement on the installation that runs. */
export interface Plumbline {
  hook: Hook;
  /** Has the revision planned, approved and applied; waits for the drift check that follows, which would disturb. */
  apply(revision: Revision, signal: AbortSignal): Promise<void>;
  /** Milliseconds from moving the tag until the API shows the plan that waits for approval, asked every `pollMs`. */
  plan(revision: Revision, pollMs: number, signal: AbortSignal): Promise<number>;
  /** Milliseconds from sending a hook without news until the API shows that the stack was looked at. */
  look(signal: AbortSignal): Promise<number>;
}

async function register(parts: Parts): Promise<Hook> {
  const token = randomBytes(24).toString('base64url');
  const spec = {
    source: {
      repository: `oci://${parts.registry}/${REPOSITORY}`,
      ref: { tag: TAG },
      interval: '1h',
      verify: { unsigned: { reason: 'the peers check no signature either' } },
    },
    pulumi: { stack: 'prod', secrets: { apiPassword: { secret: 'shop-api', key: 'password' } } },
    credentials: { plan: 'cluster-plan', apply: 'cluster-apply' },
    approval: { mode: 'manual' },
    drift: { interval: '1h' },
  };
  const { results } = await parts.api.ask<ApplyResultView>('POST', '/v1/apply', {
    manifests: [
      manifest('Secret', 'cluster-plan', { data: parts.target.plan }),
      manifest('Secret', 'cluster-apply', { data: parts.target.apply }),
      manifest('Secret', 'shop-api', { data: { password: randomBytes(18).toString('base64url') } }),
      manifest('Secret', 'bench-hook', { data: { token } }),
      manifest('Receiver', 'bench', { type: 'distribution', secret: { secret: 'bench-hook', key: 'token' } }),
      manifest('Stack', STACK, spec),
    ],
  });
  const path = results.find((result) => result.kind === 'Receiver')?.hook;
  if (path === undefined) throw new Error('the service shows no hook path for the receiver');
  const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', repository: REPOSITORY, tag: TAG };
  return {
    path,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: () => JSON.stringify({ events: [{ id: randomUUID(), action: 'push', target }] }),
  };
}

/** Asks every `pollMs` until there is an answer; gives up after two minutes. */
async function poll<T>(
  what: string,
  pollMs: number,
  signal: AbortSignal,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const end = performance.now() + LIMIT_MS;
  while (performance.now() < end) {
    const found = await ask();
    if (found !== undefined) return found;
    await delay(pollMs, undefined, { signal });
  }
  throw new Error(`waited ${LIMIT_MS / 1000} s in vain for ${what}`);
}

/** Registers the stack and a receiver of the bench's own. */
export async function createPlumbline(parts: Parts): Promise<Plumbline> {
  const { api } = parts;
  const hook = await register(parts);

  async function runOf(revision: Revision, state: RunView['state']): Promise<RunView | undefined> {
    const page = await api.ask<{ items: RunView[] }>('GET', `${base}/runs?limit=1`);
    const run = page.items.find((candidate) => candidate.digest === revision.digest);
    if (run?.state === 'errored') throw new Error(`run ${run.number} failed: ${run.message}`);
    return run?.state === state ? run : undefined;
  }

  async function waitingRun(revision: Revision, pollMs: number, signal: AbortSignal): Promise<RunView> {
    return await poll(`the plan of ${revision.digest}`, pollMs, signal, () => runOf(revision, 'awaiting_approval'));
  }

  return {
    hook,
    async apply(revision, signal) {
      await revision.release();
      const run = await waitingRun(revision, 100, signal);
      const { plan } = await runDetail(api, STACK, run.number);
      await api.ask('POST', `${base}/runs/${run.number}/approve`, { planDigest: plan?.planDigest, comment: 'bench' });
      await poll(`run ${run.number} to be applied`, 100, signal, () => runOf(revision, 'applied'));
      await poll('the first drift check', 100, signal, async () => {
        const { status } = await api.ask<StackView>('GET', base);
        return Date.parse(status.nextDriftAt ?? '') > Date.now() + FAR_MS ? true : undefined;
      });
    },
    async plan(revision, pollMs, signal) {
      const from = performance.now();
      await revision.release();
      const run = await waitingRun(revision, pollMs, signal);
      const ms = performance.now() - from;
      if (run.summary?.['update'] !== 1)
        throw new Error(`run ${run.number} did not find the one change: ${run.message}`);
      return ms;
    },
    async look(signal) {
      const from = performance.now();
      const init = { method: 'POST', headers: hook.headers, body: hook.body(), signal };
      const answer = await fetch(`${api.url}${hook.path}`, init);
      if (answer.status !== 202) throw new Error(`the hook was answered with ${answer.status}`);
      await poll('the look at the stack', 2, signal, async () => {
        const view = await api.ask<StackView>('GET', base);
        return view.status.reconcileRequested ? undefined : true;
      });
      return performance.now() - from;
    },
  };
}
