import type { Checkpoint } from '#core/engine/port.ts';

/** Columns that remember what the last run of ours left in the state; the next run compares with them (rule 8). */
export function checkpointPatch(checkpoint: Checkpoint): { checkpoint: string; checkpoint_resources: number } {
  return { checkpoint: checkpoint.hash, checkpoint_resources: checkpoint.resources };
}
