import type { QueueName } from '#core/queue.ts';
import { dueDrift, dueStacks } from '#core/store/due.ts';
import { heartbeat } from '#core/store/workers.ts';
import { pruneHistory } from '#core/store/retention.ts';
import type { WorkerDeps } from './deps.ts';

/** Stacks rung in one sweep; the rest come with the next. */
const BATCH = 200;
/** A stack that stays due for this many sweeps without a job has a dedup key whose job is gone (rule 2). */
const STALE_SWEEPS = 3;
/** Old rows are removed once in so many sweeps. */
const PRUNE_EVERY = 120;

/**
 * Rings every stack that is due: what a lost webhook, a flushed Redis or a dead worker left. Returns a function that makes
 * one sweep; the caller decides how often.
 */
export function createSweep(deps: WorkerDeps): () => Promise<void> {
  const dueFor = new Map<string, number>();
  let sweeps = 0;

  async function ringDue(queue: QueueName, stackIds: string[]): Promise<void> {
    for (const stackId of stackIds) {
      const key = `${queue}/${stackId}`;
      const times = (dueFor.get(key) ?? 0) + 1;
      dueFor.set(key, times);
      if (times >= STALE_SWEEPS) await deps.ring.clearStaleDedup(deps.identity.tenant, stackId, queue);
      await deps.ring.ring(deps.identity.tenant, stackId, queue);
    }
    const still = new Set(stackIds.map((stackId) => `${queue}/${stackId}`));
    for (const key of dueFor.keys()) if (key.startsWith(`${queue}/`) && !still.has(key)) dueFor.delete(key);
  }

  return async () => {
    const { tenant, id, bootId } = deps.identity;
    const engineVersion = (await deps.engine.versions(''))['engine'] ?? 'unknown';
    await heartbeat(deps.db, { id, tenant, bootId, pid: process.pid, engineVersion });
    await ringDue('reconcile', await dueStacks(deps.db, { tenant, limit: BATCH }));
    await ringDue('drift', await dueDrift(deps.db, { tenant, limit: BATCH }));
    if (sweeps++ % PRUNE_EVERY === 0) await pruneHistory(deps.db);
  };
}
