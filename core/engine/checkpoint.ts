import { digestOf } from '../domain/plan.ts';
import type { PendingOperation } from '../store/schema.ts';
import type { Checkpoint } from './port.ts';

type Document = Record<string, unknown>;

/** Before the first apply: no state, or one that `stack init` left empty. */
export const ABSENT: Checkpoint = { hash: 'absent', resources: 0, pendingOperations: [] };

function isDocument(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listOf(value: unknown): Document[] {
  return Array.isArray(value) ? value.filter(isDocument) : [];
}

function pendingOperation(entry: Document): PendingOperation {
  const resource = isDocument(entry['resource']) ? entry['resource'] : {};
  return { urn: String(resource['urn'] ?? ''), type: String(resource['type'] ?? ''), operation: String(entry['type'] ?? '') };
}

function summarizeDeployment(deployment: unknown): Checkpoint {
  if (!isDocument(deployment)) return ABSENT;
  const resources = listOf(deployment['resources']).length;
  const pendingOperations = listOf(deployment['pending_operations']).map(pendingOperation);
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
