import type { Checkpoint } from '#core/engine/port.ts';

/** Columns that remember what the last run of ours left in the state; the next run compares with them (rule 8). */
export function checkpointPatch(checkpoint: Checkpoint): { checkpoint: string; checkpoint_resources: number } {
  return { checkpoint: checkpoint.hash, checkpoint_resources: checkpoint.resources };
}

/**
 * The same, with the creates that were under way: resources may exist that the state does not know, so a person is asked
 * about each (design, Crash).
 */
export function leftBehind(checkpoint: Checkpoint) {
  const creating = checkpoint.pendingOperations.filter((operation) => operation.operation === 'creating');
  return {
    ...checkpointPatch(checkpoint),
    pending_operations: creating.length > 0 ? JSON.stringify(creating) : null,
  };
}
