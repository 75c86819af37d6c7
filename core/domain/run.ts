/** What a run attempts on a stack. */
export const OPERATIONS = ['update', 'rollback', 'destroy', 'drift', 'exec'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Why a run was made. */
export const TRIGGERS = ['revision', 'spec', 'manual', 'retry', 'stale', 'heal', 'backward', 'schedule'] as const;
export type Trigger = (typeof TRIGGERS)[number];

/** States of a run; the arrows are in `TRANSITIONS` and drawn in the README. */
export const RUN_STATES = [
  'pending',
  'verifying',
  'fetching',
  'planning',
  'planned',
  'policy_failed',
  'awaiting_approval',
  'approved',
  'applying',
  'interrupting',
  'applied',
  'superseded',
  'canceled',
  'discarded',
  'expired',
  'stale',
  'errored',
] as const;
export type RunState = (typeof RUN_STATES)[number];

/** Every legal move; the store refuses all others by compare-and-set. */
export const TRANSITIONS = {
  pending: ['verifying', 'superseded', 'canceled', 'errored'],
  verifying: ['fetching', 'superseded', 'canceled', 'errored'],
  fetching: ['planning', 'superseded', 'canceled', 'errored'],
  planning: ['planned', 'policy_failed', 'awaiting_approval', 'approved', 'superseded', 'canceled', 'errored'],
  // A person overrides what the policies say; what is overridden then waits for its approvals like any other plan.
  policy_failed: ['awaiting_approval', 'discarded', 'expired', 'stale', 'superseded', 'canceled'],
  awaiting_approval: ['approved', 'discarded', 'expired', 'stale', 'superseded', 'canceled'],
  approved: ['applying', 'stale', 'superseded', 'canceled', 'errored'],
  applying: ['applied', 'stale', 'interrupting', 'errored'],
  interrupting: ['applied', 'errored'],
  planned: [],
  applied: [],
  superseded: [],
  canceled: [],
  discarded: [],
  expired: [],
  stale: [],
  errored: [],
} as const satisfies Record<RunState, readonly RunState[]>;

/** Whether `to` may follow `from`. */
export function canMove(from: RunState, to: RunState): boolean {
  const next: readonly RunState[] = TRANSITIONS[from];
  return next.includes(to);
}

/** A finished run never changes again. */
export function isFinished(state: RunState): boolean {
  return TRANSITIONS[state].length === 0;
}

/** Whether the run waits for a person to decide; nothing of it is busy. */
export function isWaiting(state: RunState): boolean {
  return state === 'awaiting_approval' || state === 'policy_failed';
}

/** States in which a process of the run may be executing, so a crash must be cleaned up after. */
export const EXECUTING_STATES = ['verifying', 'fetching', 'planning', 'applying', 'interrupting'] as const;

/** Whether a worker is (or was, before it died) busy with the run. */
export function isExecuting(state: RunState): boolean {
  return EXECUTING_STATES.some((executing) => executing === state);
}
