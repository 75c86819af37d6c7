import { markFailing, markReady, markReconciling, markStalled, type Condition } from './condition.ts';
import { unreachable, type ErrorKind } from './errors.ts';
import type { Reason } from './reason.ts';
import type { RunState, Trigger } from './run.ts';

/** What a step came to, before it is turned into conditions. */
export type Outcome =
  | { type: 'progress'; reason: Reason; message: string }
  | { type: 'done'; reason: Reason; message: string }
  | { type: 'failed'; kind: ErrorKind; reason: Reason; message: string };

/** Conditions of a stack after an outcome: the one place where the trio Ready, Reconciling and Stalled is set. */
export function summarize(
  conditions: readonly Condition[],
  outcome: Outcome,
  at: { generation: number; now: Date },
): Condition[] {
  const by = { reason: outcome.reason, message: outcome.message, generation: at.generation, now: at.now };
  switch (outcome.type) {
    case 'progress':
      return markReconciling(conditions, by);
    case 'done':
      return markReady(conditions, by);
    case 'failed':
      return outcome.kind === 'stalled' ? markStalled(conditions, by) : markFailing(conditions, by);
    default:
      return unreachable(outcome);
  }
}

/**
 * Whether a run speaks for its stack. A heal repairs the applied revision: it says nothing about a newer one that waits, was
 * discarded or failed.
 */
export function speaksForStack(
  run: { trigger: Trigger },
  stack: {
    applied_digest: string | null;
    resolved_digest: string | null;
    applied_generation: number | null;
    generation: number;
  },
): boolean {
  if (run.trigger !== 'heal') return true;
  return stack.applied_digest === stack.resolved_digest && stack.applied_generation === stack.generation;
}

/** What a run's new state means for its stack; undefined where the stack's conditions stay as they are. */
export function outcomeOf(state: RunState, detail: string): Outcome | undefined {
  switch (state) {
    case 'pending':
    case 'fetching':
    case 'verifying':
    case 'planning':
    case 'approved':
    case 'applying':
    case 'interrupting':
      return { type: 'progress', reason: 'Progressing', message: detail };
    case 'policy_failed':
      return { type: 'failed', kind: 'stalled', reason: 'PolicyViolated', message: detail };
    case 'awaiting_approval':
      return { type: 'progress', reason: 'AwaitingApproval', message: detail };
    case 'stale':
      return { type: 'progress', reason: 'PlanStale', message: detail };
    case 'superseded':
      return { type: 'progress', reason: 'Superseded', message: detail };
    case 'planned':
      return { type: 'done', reason: 'UpToDate', message: detail };
    case 'applied':
      return { type: 'done', reason: 'Applied', message: detail };
    case 'discarded':
      return { type: 'failed', kind: 'stalled', reason: 'PlanDiscarded', message: detail };
    case 'expired':
      return { type: 'failed', kind: 'stalled', reason: 'ApprovalExpired', message: detail };
    case 'canceled':
      return { type: 'failed', kind: 'stalled', reason: 'Canceled', message: detail };
    case 'errored':
      // The error itself says whether it stalls or is retried.
      return undefined;
    default:
      return unreachable(state);
  }
}
