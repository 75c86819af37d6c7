import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import { outcomeOf } from '#core/domain/summarize.ts';
import { previousDesiredRun, type RunRow } from '#core/store/runs.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { againPatch } from './destroy.ts';
import { failRun } from './fail.ts';

/** Ends a run whose approval no longer holds, names what differs, and has it planned again. */
export async function makeStale(
  deps: WorkerDeps,
  lease: HeldLease,
  run: RunRow,
  from: 'approved' | 'applying',
  found: string[],
) {
  const message = `what was approved no longer holds: ${found.join('; ')}. A new plan is made`;
  const outcome = outcomeOf('stale', message);
  await record(deps, lease, {
    run: { id: run.id, from, to: 'stale', patch: { message, reason: 'PlanStale' } },
    ...(outcome && { outcome }),
    stack: againPatch(run),
    events: [
      {
        type: 'PlanStale',
        reason: 'PlanStale',
        severity: 'warning',
        message,
        data: { run: run.number, planDigest: run.plan_digest, differences: found },
      },
    ],
  });
}

/** A violation found before any change means the program planned differently with nothing bound changed. */
export async function handleViolation(deps: WorkerDeps, lease: HeldLease, run: RunRow, error: ReconcileError) {
  const previous = await previousDesiredRun(deps.db, run);
  const again = previous?.state === 'stale' && previous.digest === run.digest && previous.reason === 'NonDeterministic';
  if (again) {
    const message = `two plans in a row of ${run.revision} were violated with nothing bound changed: ${error.message}. Make the program deterministic`;
    await failRun(deps, lease, run, 'applying', stalled('NonDeterministic', message));
    return;
  }
  const outcome = outcomeOf('stale', error.message);
  await record(deps, lease, {
    run: { id: run.id, from: 'applying', to: 'stale', patch: { message: error.message, reason: 'NonDeterministic' } },
    ...(outcome && { outcome }),
    stack: { attempted_key: null },
    events: [
      {
        type: 'PlanStale',
        reason: 'NonDeterministic',
        severity: 'warning',
        message: error.message,
        data: { run: run.number },
      },
    ],
  });
}
