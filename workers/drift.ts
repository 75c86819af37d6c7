import { DEFAULTS, type StackSpec } from '#core/domain/manifest.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { asReconcileError, type ReconcileError } from '#core/domain/errors.ts';
import { counting, driftMessage } from '#core/domain/drift-report.ts';
import type { Reason } from '#core/domain/reason.ts';
import { replaceDrift } from '#core/store/drift.ts';
import { recordEvent } from '#core/store/events.ts';
import { getRunById, liveDriftRun, liveRun, type NewRun, type RunRow } from '#core/store/runs.ts';
import { databaseNow } from '#core/store/clock.ts';
import { getStackById, lockStack, patchStack, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';
import { judge, look, type Seen } from './drift-look.ts';
import { isBusy, takeLease, type HeldLease } from './lease.ts';
import { record, recordNewRun } from './record.ts';
import { drifted, healIfWanted } from './heal.ts';

/** Looked at again soon when a real run is in the way. */
const YIELD_MS = 5_000;

const MAX_EVENT_ITEMS = 100;

function nextDrift(spec: StackSpec, now: Date): Date {
  return new Date(now.getTime() + parseDuration(spec.drift?.interval ?? DEFAULTS.driftInterval));
}

function newCheck(stack: StackRow, applied: RunRow): NewRun {
  return {
    tenant: stack.tenant,
    stackId: stack.id,
    operation: 'drift',
    trigger: stack.drift_requested_seq > stack.drift_handled_seq ? 'manual' : 'schedule',
    digest: applied.digest,
    revision: applied.revision,
    generation: applied.generation,
    spec: applied.spec,
    targets: [],
    requestedBy: 'plumbline',
  };
}

async function finish(deps: WorkerDeps, lease: HeldLease, run: RunRow, seen: Seen): Promise<void> {
  const stack = await getStackById(deps.db, lease.stackId);
  if (stack === undefined) return;
  const now = await databaseNow(deps.db);
  const found = await judge(deps, stack, seen, now);
  const counts = counting(found);
  const isDrifted = counts.length > 0;
  const unseen = seen.unseen === undefined ? '' : `; the live world was not looked at: ${seen.unseen}`;
  const message = deps.scrubber.scrub(`${driftMessage(found, seen.noise)}${unseen}`);
  const reason: Reason = isDrifted ? 'Drifted' : 'NotDrifted';
  const summary = { drifted: counts.length, ignored: found.length - counts.length, noise: seen.noise };
  await record(deps, lease, {
    run: { id: run.id, from: 'planning', to: 'planned', patch: { message, summary: JSON.stringify(summary) } },
    stack: { next_drift_at: nextDrift(stack.spec, now) },
    conditions: (fresh) => drifted(fresh, stack.generation, isDrifted ? 'True' : 'False', reason, message, now),
    also: async (trx) => {
      const change = await replaceDrift(trx, { tenant: stack.tenant, stackId: stack.id, items: found });
      // Said once when it appears and once when it is gone, not at every check.
      if (change.added === 0 && (isDrifted || change.gone === 0)) return;
      await recordEvent(trx, {
        tenant: stack.tenant,
        stackId: stack.id,
        runId: run.id,
        actor: 'plumbline',
        type: isDrifted ? 'DriftDetected' : 'DriftGone',
        reason,
        severity: isDrifted ? 'warning' : 'info',
        message,
        data: { run: run.number, digest: run.digest, items: counts.slice(0, MAX_EVENT_ITEMS) },
      });
    },
  });
  await healIfWanted(deps, stack, found, now);
}

async function fail(deps: WorkerDeps, lease: HeldLease, runId: string, error: ReconcileError): Promise<void> {
  const [stack, run] = await Promise.all([getStackById(deps.db, lease.stackId), getRunById(deps.db, runId)]);
  if (stack === undefined || run === undefined) return;
  const now = await databaseNow(deps.db);
  const message = deps.scrubber.scrub(error.message);
  const again = error.reason === 'DriftDiscarded' ? new Date(now.getTime() + YIELD_MS) : nextDrift(stack.spec, now);
  const known = stack.conditions.some((condition) => condition.type === 'Drifted' && condition.message === message);
  await record(deps, lease, {
    run: { id: run.id, from: run.state, to: 'errored', patch: { reason: error.reason, message } },
    stack: { next_drift_at: again },
    conditions: (fresh) =>
      // A result that was thrown away says nothing: what was known before still stands.
      error.reason === 'DriftDiscarded'
        ? fresh
        : drifted(fresh, stack.generation, 'Unknown', error.reason, message, now),
    events:
      known || error.reason === 'DriftDiscarded'
        ? []
        : [{ type: 'DriftCheckFailed', reason: error.reason, severity: 'warning', message, data: { run: run.number } }],
  });
}

async function check(deps: WorkerDeps, lease: HeldLease, stack: StackRow, applied: RunRow): Promise<void> {
  const run = await recordNewRun(deps, lease, newCheck(stack, applied));
  try {
    await record(deps, lease, { run: { id: run.id, from: 'pending', to: 'verifying' } });
    await finish(deps, lease, run, await look(deps, lease, stack, run));
  } catch (thrown) {
    const error = asReconcileError(thrown);
    if (error.reason === 'LeaseLost' || deps.shutdown.aborted) return;
    deps.logger.warn({ err: error, stack: stack.id, reason: error.reason }, 'drift check failed');
    await fail(deps, lease, run.id, error);
  }
}

/** Ends a check whose worker died; it wrote nothing, so nothing has to be recovered. */
async function closeInterrupted(deps: WorkerDeps, lease: HeldLease, stack: StackRow): Promise<void> {
  const run = await liveDriftRun(deps.db, stack.id);
  if (run === undefined) return;
  const message = 'the drift check was interrupted; it is made again';
  await record(deps, lease, {
    run: { id: run.id, from: run.state, to: 'errored', patch: { reason: 'Interrupted', message } },
  });
}

/** The worker of a check is gone without proof of its death: said once, until somebody unlocks the stack. */
async function sayHolderUnknown(
  deps: WorkerDeps,
  stackId: string,
  holder: { workerId: string; since: Date },
): Promise<void> {
  const message = `worker ${holder.workerId} was checking for drift until ${holder.since.toISOString()} and cannot be proved dead; make sure it is, then \`plumb unlock --confirm-dead\``;
  await deps.db.transaction().execute(async (trx) => {
    const stack = await lockStack(trx, stackId);
    if (stack.conditions.some((condition) => condition.type === 'Drifted' && condition.message === message)) return;
    const now = await databaseNow(trx);
    await patchStack(trx, stackId, {
      conditions: JSON.stringify(drifted(stack.conditions, stack.generation, 'Unknown', 'HolderUnknown', message, now)),
    });
    await recordEvent(trx, {
      tenant: stack.tenant,
      stackId,
      type: 'HolderUnknown',
      reason: 'HolderUnknown',
      severity: 'error',
      message,
      actor: 'plumbline',
    });
  });
}

/** Checks a stack for drift under its own lease lane. Writes nothing to the state, and makes way for real runs. */
export async function checkDrift(deps: WorkerDeps, stackId: string): Promise<void> {
  const attempt = await takeLease(deps, stackId, 'drift');
  if (attempt.outcome === 'holder-unknown') return await sayHolderUnknown(deps, stackId, attempt);
  if (attempt.outcome === 'held') return;
  const { lease } = attempt;
  try {
    const stack = await getStackById(deps.db, stackId);
    if (stack === undefined || stack.applied_run_id === null || stack.spec.suspend === true) return;
    await closeInterrupted(deps, lease, stack);
    const [applied, busy] = await Promise.all([getRunById(deps.db, stack.applied_run_id), liveRun(deps.db, stackId)]);
    if (applied === undefined) return;
    const now = await databaseNow(deps.db);
    if (isBusy(busy))
      return await record(deps, lease, { stack: { next_drift_at: new Date(now.getTime() + YIELD_MS) } });
    await record(deps, lease, { stack: { drift_handled_seq: stack.drift_requested_seq } });
    deps.driftChecks.set(stackId, lease);
    await check(deps, lease, stack, applied);
  } finally {
    deps.driftChecks.delete(stackId);
    await lease.release();
  }
}
