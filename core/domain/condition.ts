import type { Reason } from './reason.ts';

/**
 * Conditions of a Stack, after kstatus: `Ready` says whether the newest desired state is in the world, `Reconciling`
 * and `Stalled` are present only while true, `Drifted` tells what the last check found, `SourceVerified` whether somebody
 * who counts vouches for the revision (False with reason `Unsigned` is an exception that was made on purpose).
 */
export const CONDITION_TYPES = ['Ready', 'Reconciling', 'Stalled', 'Drifted', 'SourceVerified'] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];
export type ConditionStatus = 'True' | 'False' | 'Unknown';

export interface Condition {
  type: ConditionType;
  status: ConditionStatus;
  reason: Reason;
  message: string;
  observedGeneration: number;
  /** ISO 8601, moves only when `status` changes. */
  lastTransitionTime: string;
}

export type ConditionInput = Omit<Condition, 'lastTransitionTime'>;

/** Sets one condition; the transition time moves only with the status. */
export function setCondition(conditions: readonly Condition[], next: ConditionInput, now: Date): Condition[] {
  const previous = conditions.find((condition) => condition.type === next.type);
  const unchanged = previous !== undefined && previous.status === next.status;
  const lastTransitionTime = unchanged ? previous.lastTransitionTime : now.toISOString();
  return [...conditions.filter((condition) => condition.type !== next.type), { ...next, lastTransitionTime }];
}

interface Mark {
  reason: Reason;
  message: string;
  generation: number;
  now: Date;
}

function mark(conditions: readonly Condition[], ready: ConditionStatus, also: ConditionType | undefined, by: Mark) {
  const kept = conditions.filter((condition) => condition.type !== 'Reconciling' && condition.type !== 'Stalled');
  const previous = conditions.filter((condition) => condition.type === also);
  const base = { reason: by.reason, message: by.message, observedGeneration: by.generation };
  const marked = setCondition(kept, { type: 'Ready', status: ready, ...base }, by.now);
  if (also === undefined) return marked;
  return setCondition([...marked, ...previous], { type: also, status: 'True', ...base }, by.now);
}

/** The newest desired state is in the world. */
export function markReady(conditions: readonly Condition[], by: Mark): Condition[] {
  return mark(conditions, 'True', undefined, by);
}

/** Work is under way or will go on by itself. */
export function markReconciling(conditions: readonly Condition[], by: Mark): Condition[] {
  return mark(conditions, 'Unknown', 'Reconciling', by);
}

/** The last attempt failed; it is retried by itself. */
export function markFailing(conditions: readonly Condition[], by: Mark): Condition[] {
  return mark(conditions, 'False', 'Reconciling', by);
}

/** A person has to act. */
export function markStalled(conditions: readonly Condition[], by: Mark): Condition[] {
  return mark(conditions, 'False', 'Stalled', by);
}
