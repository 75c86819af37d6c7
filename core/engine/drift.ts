import type { ResourceChange } from '../domain/plan.ts';
import type { Phase, StepMetadata } from './events.ts';
import { isDefaultProvider } from './changes.ts';
import type { DriftItem } from './port.ts';
import { diffProperties } from './property-diff.ts';

/** The code of a dynamic provider lies among the outputs of its resources; the live world has no opinion about it. */
const PROVIDER_CODE = '__provider';

function item(step: StepMetadata, rest: Omit<DriftItem, 'urn' | 'type'>): DriftItem {
  return { urn: step.urn, type: step.type, ...rest };
}

/** A refresh says `update` for a resource whose live outputs differ from the state's, and `delete` for one that is gone. */
function liveItems(step: StepMetadata): DriftItem[] {
  if (step.op === 'delete') return [item(step, { path: '', kind: 'missing' })];
  if (step.op !== 'update') return [];
  const diffs = diffProperties(step.old?.outputs ?? {}, step.new?.outputs ?? {});
  return diffs
    .filter((diff) => diff.path !== PROVIDER_CODE)
    .map(({ path, before, after }) =>
      item(step, { path, kind: 'changed', ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) }),
    );
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
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after }),
    }));
  });
}

/** How many resources the refresh looked at. */
export function refreshedResources(phase: Phase): number {
  return phase.outputs.filter((step) => !isDefaultProvider(step)).length;
}
