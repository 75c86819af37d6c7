import type { PolicyReport, ResourceChange } from '../domain/plan.ts';
import { scrubDeep, type Scrubber } from '../scrubber.ts';
import type { DriftItem, Engine } from './port.ts';

type Scrub = Pick<Scrubber, 'scrub'>;

function scrubChanges(scrubber: Scrub, changes: ResourceChange[]): ResourceChange[] {
  return changes.map((change) => ({
    ...change,
    diffs: change.diffs.map((diff) => ({
      ...diff,
      path: scrubber.scrub(diff.path),
      ...('before' in diff && { before: scrubDeep(scrubber, diff.before) }),
      ...('after' in diff && { after: scrubDeep(scrubber, diff.after) }),
    })),
    unknowns: change.unknowns.map((path) => scrubber.scrub(path)),
  }));
}

function scrubPolicies(scrubber: Scrub, { violations, remediations, ...report }: PolicyReport): PolicyReport {
  return {
    ...report,
    violations: violations.map((violation) => ({ ...violation, message: scrubber.scrub(violation.message) })),
    remediations: remediations.map((remediation) => ({
      ...remediation,
      ...('before' in remediation && { before: scrubDeep(scrubber, remediation.before) }),
      ...('after' in remediation && { after: scrubDeep(scrubber, remediation.after) }),
    })),
  };
}

function scrubItems(scrubber: Scrub, items: DriftItem[]): DriftItem[] {
  return items.map((item) => ({
    ...item,
    path: scrubber.scrub(item.path),
    ...('before' in item && { before: scrubDeep(scrubber, item.before) }),
    ...('after' in item && { after: scrubDeep(scrubber, item.after) }),
  }));
}

/**
 * An engine that tells no secret: the engine itself masks what a program marked as secret, and a program may put any value
 * into a property that is not. URNs stay as they are, for they are addresses; a name is no place for a secret.
 */
export function scrubResults(engine: Engine, scrubber: Scrub): Engine {
  return {
    // Each by itself: a spread would keep methods that a test exchanges later.
    versions: (programDir) => engine.versions(programDir),
    checkpoint: (request) => engine.checkpoint(request),
    stateProvider: (request) => engine.stateProvider(request),
    encryptConfig: (request, values) => engine.encryptConfig(request, values),
    apply: (request) => engine.apply(request),
    destroy: (request) => engine.destroy(request),
    refresh: (request, answers) => engine.refresh(request, answers),
    exec: (request, exec) => engine.exec(request, exec),
    releaseOwnLock: (request, runIds) => engine.releaseOwnLock(request, runIds),
    async preview(request) {
      const { policies, ...result } = await engine.preview(request);
      return {
        ...result,
        changes: scrubChanges(scrubber, result.changes),
        unknowns: result.unknowns.map((path) => scrubber.scrub(path)),
        ...(policies !== undefined && { policies: scrubPolicies(scrubber, policies) }),
      };
    },
    async previewDestroy(request) {
      const result = await engine.previewDestroy(request);
      return { ...result, changes: scrubChanges(scrubber, result.changes) };
    },
    async drift(request) {
      const result = await engine.drift(request);
      return { ...result, items: scrubItems(scrubber, result.items) };
    },
  };
}
