import { digestOf } from '../domain/plan.ts';
import type { PendingOperation } from '../store/schema.ts';
import { documentAt, documentsAt, isDocument, textAt, type Document } from './json-document.ts';
import type { Checkpoint } from './port.ts';

/** Before the first apply: no state, or one that `stack init` left empty. */
export const ABSENT: Checkpoint = { hash: 'absent', resources: 0, pendingOperations: [] };

function pendingOperation(entry: Document): PendingOperation {
  const resource = documentAt(entry, 'resource');
  return { urn: textAt(resource, 'urn'), type: textAt(resource, 'type'), operation: textAt(entry, 'type') };
}

function summarizeDeployment(deployment: unknown): Checkpoint {
  if (!isDocument(deployment)) return ABSENT;
  const resources = documentsAt(deployment, 'resources').length;
  const pendingOperations = documentsAt(deployment, 'pending_operations').map(pendingOperation);
  if (resources === 0 && pendingOperations.length === 0) return ABSENT;
  // The manifest holds the time of the last save, which an apply without any change moves too.
  return { hash: digestOf({ ...deployment, manifest: undefined }), resources, pendingOperations };
}

/**
 * Reads a checkpoint as the backend stores it: `{version, checkpoint: {stack, latest}}`.
 * @throws Error when the text is not JSON.
 */
export function parseStateFile(text: string): Checkpoint {
  const file: unknown = JSON.parse(text);
  if (!isDocument(file) || !isDocument(file['checkpoint'])) throw new Error('the file is no Pulumi checkpoint');
  return summarizeDeployment(file['checkpoint']['latest']);
}

/**
 * Reads what `pulumi stack export` prints: `{version, deployment}`.
 * @throws Error when the text is not JSON.
 */
export function parseExport(text: string): Checkpoint {
  const exported: unknown = JSON.parse(text);
  return isDocument(exported) ? summarizeDeployment(exported['deployment']) : ABSENT;
}
