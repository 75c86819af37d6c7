import { matchesType } from './type-pattern.ts';
import type { ApprovalPolicy, Binding, StackSpec, TenantSpec } from './manifest.ts';
import type { KnownOp, ResourceChange } from './plan.ts';

/** What an operation does to a resource that people may depend on. */
export type Danger = 'none' | 'adds' | 'destructive';

/**
 * Every operation of the engine (sdk/go/common/apitype, OpType) and what it means under `on-destructive`: safe are same,
 * read, create and an update in place (design, Plan binding).
 */
export const OP_DANGER = {
  same: 'none',
  read: 'none',
  create: 'adds',
  update: 'adds',
  delete: 'destructive',
  replace: 'destructive',
  'create-replacement': 'destructive',
  'delete-replaced': 'destructive',
  'read-replacement': 'destructive',
  refresh: 'destructive',
  discard: 'destructive',
  'discard-replaced': 'destructive',
  'remove-pending-replace': 'destructive',
  import: 'destructive',
  'import-replacement': 'destructive',
} as const satisfies Record<KnownOp, Danger>;

/** The danger of any operation; one that is not in the table is destructive, because nobody knows what it does. */
export function dangerOf(op: string): Danger {
  const known: Readonly<Record<string, Danger>> = OP_DANGER;
  return Object.hasOwn(known, op) ? (known[op] ?? 'destructive') : 'destructive';
}

/** What an approval under the spec holds: the update plan, unless the spec says otherwise. */
export function bindingOf(spec: StackSpec): Binding {
  return spec.approval?.binding ?? 'plan';
}

/** Whether a tenant lets an approval hold what the spec asks for; less than the plan only where it says so. */
export function mayBind(spec: StackSpec, tenant: TenantSpec | undefined): boolean {
  const binding = bindingOf(spec);
  return binding === 'plan' || tenant?.bindings?.includes(binding) === true;
}

/** Why a person is needed; empty means the plan may go on by itself. */
export type ApprovalNeed = string[];

function needOf(change: ResourceChange, policy: ApprovalPolicy): string | undefined {
  const danger = dangerOf(change.op);
  if (danger === 'destructive') return `${change.op} of ${change.name} (${change.type})`;
  // A protection is lost by a `same` too: nothing else about the resource changes.
  if (change.lostProtection) return `${change.name} loses protect or retainOnDelete`;
  if (danger === 'none') return undefined;
  if (change.isProvider) return `provider ${change.name} changes (${change.op})`;
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
  const changed = changes.filter((change) => dangerOf(change.op) !== 'none').length;
  const tooMany =
    policy.maxChanges !== undefined && changed > policy.maxChanges
      ? [`${changed} changes are more than the allowed ${policy.maxChanges}`]
      : [];
  if (policy.mode === 'auto') return forced;
  return [...destructive, ...tooMany, ...forced];
}
