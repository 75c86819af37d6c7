import type { ChangeSummary, PropertyDiff, ResourceChange } from '../domain/plan.ts';
import { urnName } from '../domain/urn.ts';
import type { Phase, StepMetadata, StepState } from './events.ts';
import { diffProperties, SECRET, shownSides, splitPath, unknownPaths, valueAt } from './property-diff.ts';

const PROVIDER_TYPE = 'pulumi:providers:';
const DYNAMIC_PROVIDER = /^pulumi:providers:pulumi-(?:nodejs|python)$/;

/** The engine makes default providers by itself and leaves them out of its own summary (`default`, `default_6_1_0`). */
export function isDefaultProvider(step: Pick<StepMetadata, 'type' | 'urn'>): boolean {
  return step.type.startsWith(PROVIDER_TYPE) && /^default(_|$)/.test(urnName(step.urn));
}

function isReplacement(op: string): boolean {
  return op.includes('replace');
}

/** Paths a provider reported itself; their kinds are `add`, `delete`, `update` and each with `-replace`. */
function detailedDiffs(step: StepMetadata): PropertyDiff[] {
  return Object.entries(step.detailedDiff ?? {}).map(([path, { diffKind, inputDiff }]) => {
    const before = valueAt(inputDiff ? step.old?.inputs : step.old?.outputs, path) ?? valueAt(step.old?.inputs, path);
    const after = valueAt(step.new?.inputs, path) ?? (inputDiff ? undefined : valueAt(step.new?.outputs, path));
    const kind = diffKind.startsWith('add') ? 'add' : diffKind.startsWith('delete') ? 'delete' : 'update';
    return { path, kind, replaces: diffKind.endsWith('replace'), ...shownSides(before, after) };
  });
}

/** What a provider that reports no paths leaves us: the inputs before and after. */
function inputDiffs(step: StepMetadata): PropertyDiff[] {
  const keys = new Set(step.keys ?? []);
  return diffProperties(step.old?.inputs ?? {}, step.new?.inputs ?? {}).map((diff) => {
    const [top] = splitPath(diff.path);
    return { ...diff, replaces: top !== undefined && keys.has(top) };
  });
}

/** Events hide a secret on both sides, so one that changes is known from the plan alone. */
function secretDiffs(step: StepMetadata, changed: string[], found: PropertyDiff[]): PropertyDiff[] {
  const seen = new Set(found.map(({ path }) => splitPath(path)[0]));
  const keys = new Set(step.keys ?? []);
  return changed
    .filter((key) => !seen.has(key))
    .map((path) => ({ path, kind: 'update', replaces: keys.has(path), before: SECRET, after: SECRET }));
}

/** Options of a resource that only the state holds: a `same` that changes one is applied, or it would protect nothing. */
function protectionDiffs({ old, new: now }: StepMetadata): PropertyDiff[] {
  if (old === null || now === null) return [];
  return (['protect', 'retainOnDelete'] as const)
    .filter((option) => (old[option] === true) !== (now[option] === true))
    .map((path) => ({ path, kind: 'update', replaces: false, before: old[path] === true, after: now[path] === true }));
}

function propertyDiffs(step: StepMetadata, changed: string[]): PropertyDiff[] {
  if (step.op === 'same') return protectionDiffs(step);
  if (step.new === null) return [];
  const reported = detailedDiffs(step);
  const found = reported.length > 0 ? reported : inputDiffs(step);
  return [...found, ...secretDiffs(step, changed, found)];
}

function losesProtection(old: StepState | null, now: StepState | null): boolean {
  const protect = old?.protect === true && now?.protect !== true;
  const retain = old?.retainOnDelete === true && now?.retainOnDelete !== true;
  return now !== null && (protect || retain);
}

function toChange(step: StepMetadata, changed: string[]): ResourceChange {
  return {
    urn: step.urn,
    type: step.type,
    name: urnName(step.urn),
    op: step.op,
    diffs: propertyDiffs(step, changed),
    lostProtection: losesProtection(step.old, step.new),
    isProvider: step.type.startsWith(PROVIDER_TYPE),
    unknowns: step.op === 'same' ? [] : unknownPaths(step.new?.inputs ?? {}),
  };
}

/**
 * A change people must see: anything but `same`, and a `same` that changes a protection. A default provider comes and goes with
 * its version; one that is updated or replaced reaches the cloud otherwise than before.
 */
function isShown(step: StepMetadata): boolean {
  // The provider of dynamic resources is given the program's whole config, which says nothing about where it leads.
  const isConfigured = step.op === 'update' && !DYNAMIC_PROVIDER.test(step.type) && inputDiffs(step).length > 0;
  if (isDefaultProvider(step) && !isConfigured && !isReplacement(step.op)) return false;
  return step.op !== 'same' || protectionDiffs(step).length > 0;
}

/**
 * What a preview says about each resource, in the engine's order.
 * @param changed inputs that change by URN, from the plan (plan-file.ts).
 */
export function resourceChanges(phase: Phase, changed: ReadonlyMap<string, string[]>): ResourceChange[] {
  return phase.steps.filter(isShown).map((step) => toChange(step, changed.get(step.urn) ?? []));
}

/** How many resources get which operation, as the engine counted. */
export function changeSummary(phase: Phase | undefined): ChangeSummary {
  return { ...phase?.summary?.resourceChanges };
}
