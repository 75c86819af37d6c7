import { noiseOf } from '../domain/drift-noise.ts';
import { canonicalJson, type PropertyDiff, type ResourceChange } from '../domain/plan.ts';
import type { Phase, StepMetadata } from './events.ts';
import { isDefaultProvider } from './changes.ts';
import type { DriftItem } from './port.ts';
import { isSecret, leafDifferences, SECRET, shownSides, splitPath, valueAt, type Leaf } from './property-diff.ts';

/** The code of a dynamic provider lies among the outputs of its resources; the live world has no opinion about it. */
const PROVIDER_CODE = '__provider';

/** A resource with more differing properties than this is told by the first of them and a word about the rest. */
const MAX_ITEMS_PER_RESOURCE = 200;

/** What a check found of the live world, and how many differences it left out because they only changed their form. */
export interface LiveDrift {
  items: DriftItem[];
  noise: number;
}

const NONE: LiveDrift = { items: [], noise: 0 };

function itemOf(step: StepMetadata, rest: Omit<DriftItem, 'urn' | 'type'>): DriftItem {
  return { urn: step.urn, type: step.type, ...rest };
}

function topOf(path: string): string {
  return splitPath(path)[0] ?? '';
}

function outputLeaves(step: StepMetadata): Leaf[] {
  const leaves = leafDifferences(step.old?.outputs ?? {}, step.new?.outputs ?? {});
  return leaves.filter((leaf) => topOf(leaf.path) !== PROVIDER_CODE);
}

/**
 * Both sides of a path the provider names: what was applied last and what it found. The engine compares with the inputs, which
 * stay as they were when only outputs were refreshed, so these are looked at where the outputs agree.
 */
function sidesAt({ old, new: now }: StepMetadata, path: string): Pick<Leaf, 'before' | 'after'> {
  const [stored, found] = [valueAt(old?.outputs, path), valueAt(now?.outputs, path)];
  const [wanted, read] = [valueAt(old?.inputs, path), valueAt(now?.inputs, path)];
  const pairs = [
    [stored, found],
    [wanted, read],
    [wanted ?? found, found],
  ] as const;
  const differing = pairs.find(([before, after]) => canonicalJson(before ?? null) !== canonicalJson(after ?? null));
  const [before, after] = differing ?? [wanted ?? stored, found ?? read];
  return { before, after };
}

/** A difference nobody sees: events hide a secret on both sides. */
function hidden(step: StepMetadata, path: string): DriftItem {
  return itemOf(step, { path, kind: 'changed', before: SECRET, after: SECRET });
}

function withoutNoise(step: StepMetadata, leaves: readonly Leaf[], named: boolean): LiveDrift {
  const real = leaves.filter((leaf) => noiseOf(leaf.before, leaf.after, { path: leaf.path, named }) === undefined);
  const items = real.map((leaf) =>
    itemOf(step, { path: leaf.path, kind: 'changed', ...shownSides(leaf.before, leaf.after) }),
  );
  return { items, noise: leaves.length - real.length };
}

function atPath(step: StepMetadata, path: string): LiveDrift {
  const { before, after } = sidesAt(step, path);
  if (isSecret(before) && isSecret(after)) return { items: [hidden(step, path)], noise: 0 };
  const leaves = leafDifferences(before, after, path);
  // The provider says so, and what it saw is not among the properties.
  if (leaves.length === 0) return { items: [itemOf(step, { path, kind: 'changed' })], noise: 0 };
  return withoutNoise(step, leaves, true);
}

function sum(parts: readonly LiveDrift[]): LiveDrift {
  return { items: parts.flatMap((part) => part.items), noise: parts.reduce((all, part) => all + part.noise, 0) };
}

/** A provider that names paths or properties is believed: what else differs is an output that follows from them. */
function changedItems(step: StepMetadata): LiveDrift {
  const reported = [...new Set([...Object.keys(step.detailedDiff ?? {}), ...(step.diffs ?? [])])];
  const leaves = outputLeaves(step);
  if (reported.length === 0) {
    if (leaves.length > 0) return withoutNoise(step, leaves, false);
    const inputs = leafDifferences(step.old?.inputs ?? {}, step.new?.inputs ?? {});
    // Events hide a secret on both sides, so the resource is all that can be named.
    if (inputs.length === 0) return { items: [itemOf(step, { path: '', kind: 'changed' })], noise: 0 };
    return withoutNoise(step, inputs, false);
  }
  const detailed = Object.keys(step.detailedDiff ?? {}).filter((path) => topOf(path) !== PROVIDER_CODE);
  const tops = new Set(detailed.map(topOf));
  const rest = (step.diffs ?? []).filter((key) => !tops.has(key) && key !== PROVIDER_CODE);
  const named = new Set([...tops, ...rest]);
  const following = leaves.filter((leaf) => !named.has(topOf(leaf.path))).length;
  const found = sum([...detailed, ...rest].map((path) => atPath(step, path)));
  return { items: found.items, noise: found.noise + following };
}

/** Of very many the first are told, and the last of them says how many more there are. */
function bounded(step: StepMetadata, { items, noise }: LiveDrift): LiveDrift {
  const unique = [...new Map(items.map((item) => [item.path, item])).values()];
  if (unique.length <= MAX_ITEMS_PER_RESOURCE) return { items: unique, noise };
  const more = unique.length - MAX_ITEMS_PER_RESOURCE;
  const rest = itemOf(step, { path: '', kind: 'changed', after: `${more} more properties` });
  return { items: [...unique.slice(0, MAX_ITEMS_PER_RESOURCE), rest], noise };
}

/**
 * A refresh says `update` for a resource that an apply of the same program would set back, `delete` for one that is gone, and
 * `same` for one whose outputs may differ where its provider sees no difference.
 */
function liveItems(step: StepMetadata): LiveDrift {
  if (step.op === 'delete') return { items: [itemOf(step, { path: '', kind: 'missing' })], noise: 0 };
  if (step.op === 'same') return { items: [], noise: step.new === null ? 0 : outputLeaves(step).length };
  return step.op === 'update' ? bounded(step, changedItems(step)) : NONE;
}

/** Drift of the live world against the state, from the results of `refresh --preview-only`. */
export function liveDrift(phase: Phase): LiveDrift {
  return sum(phase.outputs.filter((step) => !isDefaultProvider(step)).map(liveItems));
}

/** Both sides of a difference; one that does not exist is left out. */
function sides({ before, after }: Pick<PropertyDiff, 'before' | 'after'>): Pick<DriftItem, 'before' | 'after'> {
  return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

/** What an apply of the same program would still change: one item a property, or the operation where there is none. */
export function pendingChanges(changes: ResourceChange[]): DriftItem[] {
  return changes.flatMap(({ urn, type, op, diffs }): DriftItem[] => {
    if (op !== 'update' || diffs.length === 0) return [{ urn, type, path: '', kind: 'pending-change', after: op }];
    return diffs.map(({ path, before, after }) => ({
      urn,
      type,
      path,
      kind: 'pending-change',
      ...sides({ before, after }),
    }));
  });
}

/** How many resources the refresh looked at. */
export function refreshedResources(phase: Phase): number {
  return phase.outputs.filter((step) => !isDefaultProvider(step)).length;
}
