import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import { outcomeOf } from '#core/domain/summarize.ts';
import { previousDesiredRun, type RunRow } from '#core/store/runs.ts';
import type { StackPatch } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { againPatch } from './destroy.ts';
import { failRun, isDesired } from './fail.ts';

interface Stale {
  from: 'approved' | 'applying';
  reason: 'PlanStale' | 'NonDeterministic';
  message: string;
  stack: StackPatch;
  data?: Record<string, unknown>;
}

async function recordStale(deps: WorkerDeps, lease: HeldLease, run: RunRow, stale: Stale): Promise<void> {
  const { from, reason, message, stack, data } = stale;
  const outcome = outcomeOf('stale', message);
  await record(deps, lease, {
    run: { id: run.id, from, to: 'stale', patch: { message, reason } },
    ...(outcome && { outcome }),
    stack,
    events: [{ type: 'PlanStale', reason, severity: 'warning', message, data: { run: run.number, ...data } }],
  });
}

/** Ends a run whose approval no longer holds, names what differs, and has it planned again. */
export async function makeStale(
  deps: WorkerDeps,
  lease: HeldLease,
  run: RunRow,
  from: 'approved' | 'applying',
  found: string[],
) {
  await recordStale(deps, lease, run, {
    from,
    reason: 'PlanStale',
    message: `what was approved no longer holds: ${found.join('; ')}. A new plan is made`,
    stack: againPatch(run),
    data: { planDigest: run.plan_digest, differences: found },
  });
}

/** Why a violated plan is not made again; undefined for the first one towards the desired state. */
async function givesUp(deps: WorkerDeps, run: RunRow): Promise<string | undefined> {
  // It says nothing about the newest revision, which a person may have discarded.
  if (!isDesired(run)) return `the plan of the ${run.trigger === 'heal' ? 'heal' : run.operation} was`;
  const previous = await previousDesiredRun(deps.db, run);
  const again = previous?.state === 'stale' && previous.digest === run.digest && previous.reason === 'NonDeterministic';
  return again ? `two plans in a row of ${run.revision} were` : undefined;
}

/** A violation found before any change means the program planned differently with nothing bound changed. */
export async function handleViolation(deps: WorkerDeps, lease: HeldLease, run: RunRow, error: ReconcileError) {
  const what = await givesUp(deps, run);
  if (what !== undefined) {
    const message = `${what} violated with nothing bound changed: ${error.message}. Make the program deterministic`;
    await failRun(deps, lease, run, 'applying', stalled('NonDeterministic', message));
    return;
  }
  await recordStale(deps, lease, run, {
    from: 'applying',
    reason: 'NonDeterministic',
    message: error.message,
    stack: againPatch(run),
  });
}
