import type { Checkpoint } from '#core/engine/port.ts';
import type { PendingOperation } from '#core/store/schema.ts';

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
