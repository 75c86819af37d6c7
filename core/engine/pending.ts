import { stalled } from '../domain/errors.ts';
import type { PendingAnswer } from '../store/schema.ts';
import { documentAt, documentsAt, isDocument, textAt, type Document } from './json-document.ts';

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
function createdResource(operation: Document, id: string): Document {
  const resource = documentAt(operation, 'resource');
  return { ...resource, id, outputs: resource['inputs'] ?? {} };
}

function checkAllAnswered(creates: Document[], answers: Map<string, PendingAnswer>): void {
  const open = creates.map(urnOf).filter((urn) => !answers.has(urn));
  if (open.length === 0) return;
  throw stalled(
    'PendingOperations',
    `every pending create is settled at once; answer these as well: ${open.join(', ')}`,
  );
}

/**
 * Settles pending creates in an exported state: a cleared one is dropped, an imported one becomes a resource. The engine's own
 * `refresh --import-pending-creates` drops it without importing it (3.259.0, tried on a file backend), and its `stack import`
 * drops every pending operation, so all are answered together or none.
 * @returns undefined when no answer concerns this state.
 * @throws ReconcileError stalled(PendingOperations) naming the creates that have no answer.
 */
export function settlePending(exported: string, answers: PendingAnswer[]): SettledState | undefined {
  const state: unknown = JSON.parse(exported);
  if (!isDocument(state) || !isDocument(state['deployment'])) return undefined;
  const deployment = state['deployment'];
  const creates = documentsAt(deployment, 'pending_operations').filter((operation) => operation['type'] === CREATING);
  const byUrn = new Map(answers.map((answer) => [answer.urn, answer]));
  if (!creates.some((operation) => byUrn.has(urnOf(operation)))) return undefined;
  checkAllAnswered(creates, byUrn);
  const created = creates.flatMap((operation) => {
    const answer = byUrn.get(urnOf(operation));
    return answer?.answer === 'import' ? [createdResource(operation, answer.id)] : [];
  });
  const resources = [...documentsAt(deployment, 'resources'), ...created];
  return {
    text: JSON.stringify({ ...state, deployment: { ...deployment, resources, pending_operations: undefined } }),
    imported: created.map((resource) => textAt(resource, 'urn')),
  };
}

/**
 * Makes sure that what was imported is still there after the refresh: a wrong id reads as a resource that is gone.
 * @throws ReconcileError stalled(PendingOperations) naming what was not found.
 */
export function checkImported(exported: string, imported: string[]): void {
  const state: unknown = JSON.parse(exported);
  const deployment = isDocument(state) ? documentAt(state, 'deployment') : {};
  const present = new Set(documentsAt(deployment, 'resources').map((resource) => textAt(resource, 'urn')));
  const lost = imported.filter((urn) => !present.has(urn));
  if (lost.length === 0) return;
  throw stalled(
    'PendingOperations',
    `nothing exists under the id given for ${lost.join(', ')}, so the state does not hold it; look before you approve a plan that creates it`,
  );
}
