import type { Checkpoint, EngineRequest } from '#core/engine/port.ts';
import type { PendingAnswer } from '#core/store/schema.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { requireOwnCode } from '../state-check.ts';

/**
 * A writing refresh outside an apply. That it is under way is written down first: a worker that dies in it leaves a state
 * nobody recorded, which is ours all the same. The caller records what it returns (checkpoint-patch.ts), which ends that.
 * @throws stalled(StateMovedOutside) before anything of a state that is not ours is run
 */
export async function refreshState(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  request: EngineRequest,
  answers: PendingAnswer[],
): Promise<Checkpoint> {
  requireOwnCode(stack, await deps.engine.checkpoint(request));
  await record(deps, lease, { stack: { writing_state: true } });
  return await deps.engine.refresh(request, answers);
}
