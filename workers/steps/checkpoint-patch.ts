import type { Checkpoint } from '#core/engine/port.ts';
import type { PlanRow } from '#core/store/plans.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { PendingOperation } from '#core/store/schema.ts';
import type { StackRow } from '#core/store/stacks.ts';

/** Columns that remember what the last run of ours left in the state; the next run compares with them (rule 8). */
export function checkpointPatch({ hash, resources }: Checkpoint) {
  return { checkpoint: hash, checkpoint_resources: resources, writing_state: false };
}

/**
 * The same, with the creates that were under way: resources may exist that the state does not know, so a person is asked
 * about each (design, Crash). `noted`: those no state has a record of (core/store/open-creates.ts).
 */
export function leftBehind(checkpoint: Checkpoint, noted: PendingOperation[]) {
  const recorded = checkpoint.pendingOperations.filter((operation) => operation.operation === 'creating');
  const known = new Set(recorded.map(({ urn }) => urn));
  const creating = [...recorded, ...noted.filter(({ urn }) => !known.has(urn))];
  return {
    ...checkpointPatch(checkpoint),
    pending_operations: creating.length > 0 ? JSON.stringify(creating) : null,
  };
}

const KEEPS: ReadonlySet<string> = new Set(['same', 'read', 'create', 'update']);
/** A resource stands twice in a state while its former self waits to be deleted. */
const ENTRIES_EACH = 2;

/**
 * Whether a state that an apply was cut off from, or failed on, lost more than its plan could take: somebody put an older one
 * there, or took it away. It is not remembered as ours then, so that the next plan stalls with `StateRegressed` (rule 8).
 */
export function lostMore(
  stack: Pick<StackRow, 'checkpoint' | 'checkpoint_resources'>,
  run: Pick<RunRow, 'operation'>,
  plan: { bound: Pick<PlanRow['bound'], 'checkpoint'>; changes: readonly { op: string }[] } | undefined,
  now: Checkpoint,
): boolean {
  if (run.operation === 'destroy' || plan === undefined || plan.bound.checkpoint === 'absent') return false;
  if (stack.checkpoint === null || stack.checkpoint === 'absent' || stack.checkpoint_resources === null) return false;
  // Not even a program without resources leaves no state.
  if (now.hash === 'absent') return true;
  if (plan.bound.checkpoint !== stack.checkpoint) return false;
  const taken = plan.changes.filter(({ op }) => !KEEPS.has(op)).length * ENTRIES_EACH;
  return now.resources < stack.checkpoint_resources - taken;
}

/** `leftBehind` after an apply that did not end, where the state may be another's. */
export function leftByApply(
  at: { stack: StackRow; run: RunRow; plan: PlanRow | undefined },
  checkpoint: Checkpoint,
  noted: PendingOperation[],
) {
  const { pending_operations: pending, ...ours } = leftBehind(checkpoint, noted);
  return { pending_operations: pending, ...(lostMore(at.stack, at.run, at.plan, checkpoint) ? {} : ours) };
}
