import { matchesType } from './type-pattern.ts';
import type { ApprovalPolicy } from './manifest.ts';
import type { ResourceChange } from './plan.ts';

/** Operations that can take nothing away. Every other one, known or not, needs a person (on-destructive). */
const SAFE_OPS: ReadonlySet<string> = new Set(['same', 'read', 'create', 'update', 'refresh']);

/** Why a person is needed; empty means the plan may go on by itself. */
export type ApprovalNeed = string[];

function needOf(change: ResourceChange, policy: ApprovalPolicy): string | undefined {
  if (!SAFE_OPS.has(change.op)) return `${change.op} of ${change.name} (${change.type})`;
  if (change.op === 'same' || change.op === 'read') return undefined;
  if (change.isProvider) return `provider ${change.name} changes (${change.op})`;
  if (change.lostProtection) return `${change.name} loses protect or retainOnDelete`;
  if (change.diffs.some((diff) => diff.replaces)) return `${change.name} may be replaced`;
  const listed = (policy.listedTypes ?? []).find((pattern) => matchesType(pattern, change.type));
  if (listed !== undefined) return `${change.name} is of listed type ${listed}`;
  return undefined;
}

/**
 * Whether a plan needs a person under the policy, with every reason.
 * Rule: "on-destructive" in the design's Plan binding.
 */
export function approvalNeeds(
  policy: ApprovalPolicy,
  changes: readonly ResourceChange[],
  forced: string[],
): ApprovalNeed {
  if (policy.mode === 'manual') return ['mode manual: every change is approved by a person', ...forced];
  const destructive = changes.flatMap((change) => needOf(change, policy) ?? []);
  const changed = changes.filter((change) => change.op !== 'same' && change.op !== 'read').length;
  const tooMany =
    policy.maxChanges !== undefined && changed > policy.maxChanges
      ? [`${changed} changes are more than the allowed ${policy.maxChanges}`]
      : [];
  if (policy.mode === 'auto') return forced;
  return [...destructive, ...tooMany, ...forced];
}
