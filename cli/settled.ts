import { isWaiting } from '#core/domain/run.ts';
import type { StackView } from '#core/domain/view.ts';

/** Stalls of a revision whose signatures did not count; they stand until its next verdict has led to something. */
const TRUST_REASONS: ReadonlySet<string> = new Set(['SignatureMissing', 'SignatureInvalid', 'PolicyUnset']);

/** Nothing more will happen by itself: applied, waiting for a person, or stalled. `asked`: the answer to the request. */
export function isSettled(stack: StackView, asked: StackView): boolean {
  if (stack.liveRun !== null) return isWaiting(stack.liveRun.state);
  // A source that cannot be asked leaves the request open: it is counted as a failure instead.
  const isHandled = !stack.status.reconcileRequested || stack.status.failures > asked.status.failures;
  if (!isHandled) return false;
  if (stack.spec.suspend === true) return true;
  return (isStalled(stack) || !isTrue(stack, 'Reconciling')) && !isVerdictDue(stack);
}

export function isStalled(stack: StackView): boolean {
  return isTrue(stack, 'Stalled');
}

function isTrue(stack: StackView, type: string): boolean {
  return stack.status.conditions.some((condition) => condition.type === type && condition.status === 'True');
}

/** A request is handled when the source has answered. Until who signed is known too, the conditions tell of before. */
function isVerdictDue({ status: { conditions, verification, resolved } }: StackView): boolean {
  const stalled = conditions.find(({ type, status }) => type === 'Stalled' && status === 'True');
  if (stalled !== undefined && !TRUST_REASONS.has(stalled.reason)) return false;
  if (verification === null) return false;
  if (verification.digest !== resolved?.digest) return true;
  if (stalled === undefined) return false;
  const isTrusted = verification.state === 'verified' || verification.state === 'unsigned';
  // A look that was asked for is due since the beginning of time.
  return isTrusted || (verification.nextAt !== null && Date.parse(verification.nextAt) === 0);
}
