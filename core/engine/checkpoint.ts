import { stalled, type ReconcileError } from '../domain/errors.ts';
import { digestOf } from '../domain/plan.ts';
import type { PendingOperation } from '../store/schema.ts';
import { documentAt, documentsAt, isDocument, textAt, type Document } from './json-document.ts';
import type { Checkpoint } from './port.ts';

/** Before the first apply: no state, or one that `stack init` left empty. */
export const ABSENT: Checkpoint = { hash: 'absent', resources: 0, dynamic: 0, pendingOperations: [] };

/** Providers of the SDKs whose code is a property of each resource: `pulumi-nodejs:dynamic:Resource`, `pulumi-python:dynamic:…`. */
const DYNAMIC = /^(?:pulumi:providers:)?pulumi-(?:nodejs|python)(?::|$)/;
const PROVIDER = 'pulumi:providers:';

/** Whether using the resource runs code that the state itself brings, or names the address of. */
function bringsCode(resource: Document): boolean {
  const type = textAt(resource, 'type');
  const inputs = documentAt(resource, 'inputs');
  if (DYNAMIC.test(type) || '__provider' in inputs) return true;
  if (!type.startsWith(PROVIDER)) return false;
  return 'pluginDownloadURL' in inputs || 'pluginDownloadURL' in documentAt(inputs, '__internal');
}

/** What a destroy has to know of a resource. */
export interface StateResource {
  urn: string;
  protect: boolean;
  retained: boolean;
}

/** Every resource of a deployment, in its order. */
export function stateResources(deployment: Document): StateResource[] {
  return documentsAt(deployment, 'resources').map((resource) => ({
    urn: textAt(resource, 'urn'),
    protect: resource['protect'] === true,
    retained: resource['retainOnDelete'] === true,
  }));
}

function pendingOperation(entry: Document): PendingOperation {
  const resource = documentAt(entry, 'resource');
  return { urn: textAt(resource, 'urn'), type: textAt(resource, 'type'), operation: textAt(entry, 'type') };
}

function summarizeDeployment(deployment: unknown): Checkpoint {
  if (!isDocument(deployment)) return ABSENT;
  const resources = documentsAt(deployment, 'resources');
  const pendingOperations = documentsAt(deployment, 'pending_operations').map(pendingOperation);
  if (resources.length === 0 && pendingOperations.length === 0) return ABSENT;
  // The manifest holds the time of the last save, which an apply without any change moves too.
  const hash = digestOf({ ...deployment, manifest: undefined });
  return { hash, resources: resources.length, dynamic: resources.filter(bringsCode).length, pendingOperations };
}

/** A state that is no state, and what can be done. */
export function stateInvalid(what: string, cause?: unknown): ReconcileError {
  return stalled(
    'StateInvalid',
    `the state cannot be read: ${what}. Restore it from a backup (the backend keeps them under .pulumi/backups); nothing was run or changed`,
    cause,
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // The parser's own message quotes the text, which may hold what nobody should read.
    throw stateInvalid(`it is ${text.trim() === '' ? 'empty' : 'no JSON, so cut or overwritten'}`, cause);
  }
}

/**
 * The deployment of a checkpoint as the backend stores it: `{version, checkpoint: {stack, latest}}`; undefined where
 * `stack init` left it empty.
 * @throws stalled(StateInvalid)
 */
export function deploymentOfFile(text: string): unknown {
  const file = parse(text);
  if (!isDocument(file) || !isDocument(file['checkpoint'])) throw stateInvalid('the file is no Pulumi checkpoint');
  const { latest } = file['checkpoint'];
  if (latest !== undefined && latest !== null && !isDocument(latest)) throw stateInvalid('its deployment is no object');
  return latest;
}

/** The deployment that `pulumi stack export` prints: `{version, deployment}`. @throws stalled(StateInvalid) */
export function deploymentOfExport(text: string): unknown {
  const exported = parse(text);
  return isDocument(exported) ? exported['deployment'] : undefined;
}

/** What of a state decides. @throws stalled(StateInvalid) when the text is no checkpoint */
export function parseStateFile(text: string): Checkpoint {
  return summarizeDeployment(deploymentOfFile(text));
}

/** The same of an exported state. */
export function parseExport(text: string): Checkpoint {
  return summarizeDeployment(deploymentOfExport(text));
}
