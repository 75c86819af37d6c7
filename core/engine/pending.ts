import { stalled, type ReconcileError } from '../domain/errors.ts';
import type { CompleteAnswer } from '../store/schema.ts';
import { documentAt, documentsAt, isDocument, textAt, type Document } from './json-document.ts';
import { requireUnmasked, unmasked } from './masked.ts';

/** A state in which a person's answers are settled. */
export interface SettledState {
  /** For `pulumi stack import`. Secrets stay the ciphertext they were. */
  text: string;
  /** Resources that were brought in and must be read from the live world. */
  imported: string[];
}

/** Only a create may have left something behind that the state does not know; a refresh settles the other kinds by itself. */
const CREATING = 'creating';

function urnOf(operation: Document): string {
  return textAt(documentAt(operation, 'resource'), 'urn');
}

/** As the engine would have written it after the create; its outputs are read by the refresh that follows. */
function createdResource(resource: Document, id: string): Document {
  return { ...resource, id, outputs: resource['inputs'] ?? {} };
}

function checkAllAnswered(creates: Document[], answers: Map<string, CompleteAnswer>): void {
  const open = creates.map(urnOf).filter((urn) => !answers.has(urn));
  if (open.length === 0) return;
  throw stalled(
    'PendingOperations',
    `every pending create is settled at once; answer these as well: ${open.join(', ')}`,
  );
}

/**
 * Resources with a new one among them. Where it replaces one, what the engine does after such a create is done here: an old
 * one that was deleted before is dropped, and every other is marked for the next update to delete. The new one takes the old
 * one's place, because what depends on it may follow.
 */
function withCreated(resources: Document[], created: Document): Document[] {
  const old = resources.find(({ urn, delete: doomed }) => urn === created['urn'] && doomed !== true);
  if (old === undefined) return [...resources, created];
  const kept = old['pendingReplacement'] === true ? [] : [{ ...old, delete: true }];
  return resources.flatMap((resource) => (resource === old ? [created, ...kept] : [resource]));
}

/**
 * The resource each `import` answer brings in: from the state's own record of the create, else from the answer's, whose
 * secrets the one it replaces may still know.
 */
function importedResources(creates: Document[], known: Document[], answers: CompleteAnswer[]): Document[] {
  const recorded = new Map(creates.map((operation) => [urnOf(operation), documentAt(operation, 'resource')]));
  return answers.flatMap((answer) => {
    if (answer.answer !== 'import') return [];
    const own = recorded.get(answer.urn);
    if (own !== undefined) return [createdResource(own, answer.id)];
    if (answer.resource === undefined) return [];
    const old = known.filter(({ urn }) => urn === answer.urn).map((resource) => documentAt(resource, 'inputs'));
    return [createdResource(requireUnmasked(unmasked(answer.resource, old)), answer.id)];
  });
}

/**
 * Settles pending creates in an exported state: a cleared one is dropped, an imported one becomes a resource. The engine's own
 * `refresh --import-pending-creates` drops it without importing it (3.259.0, tried on a file backend), and its `stack import`
 * drops every pending operation, so all are answered together or none.
 * @returns undefined when no answer changes this state.
 * @throws ReconcileError stalled(PendingOperations) naming the creates that have no answer.
 */
export function settlePending(exported: string, answers: CompleteAnswer[]): SettledState | undefined {
  const state: unknown = JSON.parse(exported);
  if (!isDocument(state) || !isDocument(state['deployment'])) return undefined;
  const deployment = state['deployment'];
  const creates = documentsAt(deployment, 'pending_operations').filter((operation) => operation['type'] === CREATING);
  const byUrn = new Map(answers.map((answer) => [answer.urn, answer]));
  const known = documentsAt(deployment, 'resources');
  const created = importedResources(creates, known, answers);
  if (created.length === 0 && !creates.some((operation) => byUrn.has(urnOf(operation)))) return undefined;
  checkAllAnswered(creates, byUrn);
  // Settled before, by an attempt that was cut off after it.
  const missing = created.filter((made) => !known.some(({ urn, id }) => urn === made['urn'] && id === made['id']));
  const resources = missing.reduce(withCreated, known);
  return {
    text: JSON.stringify({ ...state, deployment: { ...deployment, resources, pending_operations: undefined } }),
    imported: created.map((resource) => textAt(resource, 'urn')),
  };
}

/**
 * Makes sure that what was imported is still there after a refresh: a wrong id reads as a resource that is gone.
 * @throws ReconcileError stalled(PendingOperations) naming what was not found; `wrongAnswers` gives their URNs.
 */
export function checkImported(exported: string, imported: string[]): void {
  const state: unknown = JSON.parse(exported);
  const deployment = isDocument(state) ? documentAt(state, 'deployment') : {};
  const present = new Set(
    documentsAt(deployment, 'resources').flatMap((resource) =>
      resource['delete'] === true ? [] : [textAt(resource, 'urn')],
    ),
  );
  const lost = imported.filter((urn) => !present.has(urn));
  if (lost.length === 0) return;
  throw stalled(
    'PendingOperations',
    `nothing exists under the id given for ${lost.join(', ')}; the state is as it was. Answer again: \`plumb pending\``,
    { wrongAnswers: lost },
  );
}

/** The URNs whose answer `checkImported` found wrong; none for any other error. */
export function wrongAnswers(error: ReconcileError): string[] {
  const { cause } = error;
  if (!isDocument(cause) || !Array.isArray(cause['wrongAnswers'])) return [];
  return cause['wrongAnswers'].filter((urn) => typeof urn === 'string');
}
