import type { ResourceChange } from './plan.ts';

/** What the last check found at one property: the state's value before, the live one after; neither where it is masked. */
interface Found {
  urn: string;
  path: string;
  kind: string;
  before: unknown;
  after: unknown;
}

/**
 * The changes of a heal as people should see them: a refresh leaves the inputs of a resource as they were, so its update names no
 * property, and what is set back is known from the check alone.
 */
export function showHealed(changes: readonly ResourceChange[], found: readonly Found[]): ResourceChange[] {
  return changes.map((change) => {
    if (change.op !== 'update' || change.diffs.length > 0) return change;
    const diffs = found
      .filter(({ urn, kind, path }) => urn === change.urn && kind === 'changed' && path !== '')
      .map(
        ({ path, before, after }) => ({ path, kind: 'update', replaces: false, before: after, after: before }) as const,
      );
    return { ...change, diffs };
  });
}
