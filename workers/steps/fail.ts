import { sql } from 'kysely';
import type { ReconcileError } from '#core/domain/errors.ts';
import type { RunState } from '#core/domain/run.ts';
import { SIGNATURE_FAILURES } from '#core/domain/verification.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackPatch } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record } from '../record.ts';

/** A heal and a destroy say nothing about the revision the source names. */
export function isDesired(run: RunRow): boolean {
  return run.trigger !== 'heal' && run.operation !== 'destroy';
}

/**
 * The policy or the time has moved on since the revision was let through: what was known is forgotten, so that the stack
 * waits for a signature as it does before a run.
 */
function askAgain(run: RunRow, error: ReconcileError): StackPatch {
  if (!isDesired(run) || !SIGNATURE_FAILURES.has(error.reason)) return {};
  return { attempted_key: null, verification: null };
}

/** Ends a run with an error; the kind decides whether the stack stalls or the run is tried again. */
export async function failRun(
  deps: WorkerDeps,
  lease: HeldLease,
  run: RunRow,
  from: RunState | RunState[],
  error: ReconcileError,
  stack: StackPatch = {},
): Promise<void> {
  const message = deps.scrubber.scrub(`run ${run.number}: ${error.message}`);
  const pending = stack.pending_operations !== undefined && stack.pending_operations !== null;
  const outcome = pending
    ? ({
        type: 'failed',
        kind: 'stalled',
        reason: 'PendingOperations',
        message: `${message}. Resources were being created: see \`plumb pending\``,
      } as const)
    : // A heal is not tried again by itself, but by the next drift check or a person; a destroy by a person alone.
      ({
        type: 'failed',
        kind: isDesired(run) ? error.kind : 'stalled',
        reason: error.reason,
        message: run.operation === 'destroy' ? `${message}. \`plumb destroy\` plans it again` : message,
      } as const);
  // Waiting for somebody else is no failure of the revision.
  const counts = error.kind !== 'waiting' && isDesired(run);
  deps.logger.warn({ err: error, run: run.id, reason: error.reason }, 'run failed');
  await record(deps, lease, {
    run: { id: run.id, from, to: 'errored', patch: { reason: error.reason, message } },
    outcome,
    stack: { ...(counts && { failures: sql<number>`failures + 1` }), ...askAgain(run, error), ...stack },
    events: [
      {
        type: 'RunFailed',
        reason: error.reason,
        severity: 'error',
        message,
        data: { run: run.number, digest: run.digest, operation: run.operation },
      },
    ],
  });
}
