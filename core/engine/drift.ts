import type { PropertyDiff, ResourceChange } from '../domain/plan.ts';
import type { Phase, StepMetadata } from './events.ts';
import { isDefaultProvider } from './changes.ts';
import type { DriftItem } from './port.ts';
import { diffProperties } from './property-diff.ts';

/** The code of a dynamic provider lies among the outputs of its resources; the live world has no opinion about it. */
const PROVIDER_CODE = '__provider';

function item(step: StepMetadata, rest: Omit<DriftItem, 'urn' | 'type'>): DriftItem {
  return { urn: step.urn, type: step.type, ...rest };
}

/** Both sides of a difference; one that does not exist is left out. */
function sides({ before, after }: Pick<PropertyDiff, 'before' | 'after'>): Pick<DriftItem, 'before' | 'after'> {
  return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

/** A refresh says `update` for a resource whose live outputs differ from the state's, and `delete` for one that is gone. */
function liveItems(step: StepMetadata): DriftItem[] {
  if (step.op === 'delete') return [item(step, { path: '', kind: 'missing' })];
  if (step.op !== 'update') return [];
  const diffs = diffProperties(step.old?.outputs ?? {}, step.new?.outputs ?? {});
  // Events hide a secret on both sides, so the resource is all that can be named.
  if (diffs.length === 0) return [item(step, { path: '', kind: 'changed' })];
  return diffs
    .filter(({ path }) => path !== PROVIDER_CODE)
    .map((diff) => item(step, { path: diff.path, kind: 'changed', ...sides(diff) }));
}

/** Drift of the live world against the state, from the results of `refresh --preview-only`. */
export function liveDrift(phase: Phase): DriftItem[] {
  return phase.outputs.filter((step) => !isDefaultProvider(step)).flatMap(liveItems);
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
