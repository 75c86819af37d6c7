import { DEFAULTS, type StackSpec } from '#core/domain/manifest.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { asReconcileError, stalled, transient, type ReconcileError } from '#core/domain/errors.ts';
import { suspectsCredentials } from '#core/domain/drift.ts';
import type { Reason } from '#core/domain/reason.ts';
import { saySigners } from '#core/domain/verification.ts';
import type { DriftItem, DriftResult } from '#core/engine/port.ts';
import { replaceDrift } from '#core/store/drift.ts';
import { recordEvent } from '#core/store/events.ts';
import { getRunById, liveDriftRun, liveRun, type NewRun, type RunRow } from '#core/store/runs.ts';
import { databaseNow } from '#core/store/clock.ts';
import { getStackById, lockStack, patchStack, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';
import { isBusy, takeLease, type HeldLease } from './lease.ts';
import { record, recordNewRun } from './record.ts';
import { drifted, healIfWanted } from './heal.ts';
import { gatherInputs } from './steps/request.ts';
import { requireTrust } from './steps/verify.ts';
import { fetchProgram, withWorkspace } from './steps/workspace.ts';

/** Looked at again soon when a real run is in the way. */
const YIELD_MS = 5_000;

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

/** Compares the live world and the program with the state; the result is void if the state moved meanwhile. */
async function look(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<DriftResult> {
  const verified = await requireTrust(deps, stack, run, lease.signal);
  const signed = saySigners(verified);
  await record(deps, lease, { run: { id: run.id, from: 'verifying', to: 'fetching', patch: { signed } } });
  const artifact = await fetchProgram(deps, stack, run, lease.signal);
  return await withWorkspace(deps, run, artifact, lease.signal, async (scene) => {
    await record(deps, lease, { run: { id: run.id, from: 'fetching', to: 'planning' } });
    const { request } = await gatherInputs(deps, lease, { stack, run, ...scene, phase: 'plan' });
    const before = await deps.engine.checkpoint(request);
    if (before.hash === 'absent')
      throw stalled('StateRegressed', `the state of ${stack.name} is gone; restore it from a backup`);
    const result = await deps.engine.drift(request);
    const after = await deps.engine.checkpoint(request);
    if (after.hash !== before.hash)
      throw transient('DriftDiscarded', 'the state moved during the drift check; it is made again');
    return result;
  });
}

function listing(items: readonly DriftItem[]): string {
  const names = [
    ...new Set(
      items.map((item) => `${item.urn.split('::').at(-1)}${item.path === '' ? ` (${item.kind})` : `.${item.path}`}`),
    ),
  ];
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

async function finish(deps: WorkerDeps, lease: HeldLease, run: RunRow, result: DriftResult): Promise<void> {
  const stack = await getStackById(deps.db, lease.stackId);
  if (stack === undefined) return;
  if (suspectsCredentials(result)) {
    throw stalled(
      'CredentialsSuspect',
      `more than a fifth of ${result.resources} resources seem missing: check the plan credentials, account and region before anything is believed`,
    );
  }
  const now = await databaseNow(deps.db);
  const found = result.items.length;
  const message =
    found === 0
      ? 'the live world agrees with the last applied state'
      : `${found} differences: ${listing(result.items)}`;
  const reason: Reason = found === 0 ? 'NotDrifted' : 'Drifted';
  const event = {
    type: found === 0 ? 'DriftGone' : 'DriftDetected',
    reason,
    severity: found === 0 ? ('info' as const) : ('warning' as const),
    message,
    data: { run: run.number, digest: run.digest, items: result.items.slice(0, 100) },
  };
  await record(deps, lease, {
    run: {
      id: run.id,
      from: 'planning',
      to: 'planned',
      patch: { message, summary: JSON.stringify({ drifted: found }) },
    },
    stack: { next_drift_at: nextDrift(run.spec, now) },
    conditions: (fresh) => drifted(fresh, stack.generation, found === 0 ? 'False' : 'True', reason, message, now),
    also: async (trx) => {
      const change = await replaceDrift(trx, { tenant: stack.tenant, stackId: stack.id, items: result.items });
      // Said once when it appears and once when it is gone, not at every check.
      if (change.added > 0 || (found === 0 && change.gone > 0))
        await recordEvent(trx, {
          tenant: stack.tenant,
          stackId: stack.id,
          runId: run.id,
          actor: 'plumbline',
          ...event,
        });
    },
  });
  await healIfWanted(deps, stack, result.items, now);
}

async function fail(deps: WorkerDeps, lease: HeldLease, runId: string, error: ReconcileError): Promise<void> {
  const [stack, run] = await Promise.all([getStackById(deps.db, lease.stackId), getRunById(deps.db, runId)]);
  if (stack === undefined || run === undefined) return;
  const now = await databaseNow(deps.db);
  const message = deps.scrubber.scrub(error.message);
  const again = error.reason === 'DriftDiscarded' ? new Date(now.getTime() + YIELD_MS) : nextDrift(run.spec, now);
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
