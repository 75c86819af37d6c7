import { asReconcileError } from '#core/domain/errors.ts';
import type { Checkpoint, EngineRequest } from '#core/engine/port.ts';
import type { CompleteAnswer } from '#core/store/schema.ts';
import type { StackPatch, StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { requireOwnCode } from '../state-check.ts';
import { checkpointPatch } from './checkpoint-patch.ts';
import { leftState } from './left-state.ts';

type Remembered = Pick<StackRow, 'checkpoint' | 'accepted_checkpoint' | 'writing_state'>;

/**
 * What is remembered of a state after a refresh of ours. One that something else had written stays a question until a plan
 * made from it is applied: a refresh answers for nothing it found.
 */
export function refreshedPatch(stack: Remembered, before: Checkpoint, after: Checkpoint): StackPatch {
  if (before.hash === stack.checkpoint || stack.writing_state) return checkpointPatch(after);
  if (before.hash === stack.accepted_checkpoint) return { accepted_checkpoint: after.hash, writing_state: false };
  return { writing_state: false };
}

/** After a refresh that failed: what it wrote is ours, and what comes later is not. */
async function lookAgain(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  request: EngineRequest,
  before: Checkpoint,
): Promise<void> {
  const now = await leftState(deps, request);
  const isUntouched = now.hash === before.hash || now.hash === 'absent';
  await record(deps, lease, {
    stack: isUntouched ? { writing_state: stack.writing_state } : refreshedPatch(stack, before, now),
  });
}

/**
 * A writing refresh outside an apply. That it is under way is written down first: a worker that dies in it leaves a state
 * nobody recorded, which is ours all the same. The caller records the patch it returns, which ends that; a failure ends it too.
 * @throws stalled(StateMovedOutside) before anything of a state that is not ours is run
 */
export async function refreshState(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  request: EngineRequest,
  answers: CompleteAnswer[],
): Promise<{ before: Checkpoint; after: Checkpoint; patch: StackPatch }> {
  const before = await deps.engine.checkpoint(request);
  requireOwnCode(stack, before);
  await record(deps, lease, { stack: { writing_state: true } });
  try {
    const after = await deps.engine.refresh(request, answers);
    return { before, after, patch: refreshedPatch(stack, before, after) };
  } catch (thrown) {
    const error = asReconcileError(thrown);
    // Nothing else may hide why the refresh failed; what is not known now stays marked as being written.
    if (error.reason !== 'LeaseLost')
      await lookAgain(deps, lease, stack, request, before).catch((unknown: unknown) =>
        deps.logger.warn({ err: unknown, stack: stack.id }, 'the state was not read after a failed refresh'),
      );
    throw thrown;
  }
}
