import { ReconcileError } from '../domain/errors.ts';
import { engineStackName } from './backends.ts';
import { ABSENT, deploymentOfExport, deploymentOfFile, parseExport, parseStateFile } from './checkpoint.ts';
import { isDocument, type Document } from './json-document.ts';
import type { Checkpoint, EngineRequest } from './port.ts';
import { openSession, type Session, type VersionedEngine } from './session.ts';
import { readStateFile, stateFolder } from './state-files.ts';

/** The state as JSON, its secrets encrypted. */
export function exportState(session: Session, { identity }: EngineRequest): Promise<string> {
  return session.print(['stack', 'export', '--stack', engineStackName(identity)]);
}

interface StateText {
  text: string;
  from: 'file' | 'export';
}

/** The state as its backend holds it, without a lock; undefined where there is none. */
async function readState(engine: VersionedEngine, request: EngineRequest): Promise<StateText | undefined> {
  const folder = stateFolder(request.identity.backend);
  if (folder !== undefined) {
    const text = await readStateFile(folder, request.identity);
    return text === undefined ? undefined : { text, from: 'file' };
  }
  const session = await openSession(engine, request);
  try {
    return { text: await exportState(session, request), from: 'export' };
  } catch (error) {
    if (error instanceof ReconcileError && error.reason === 'StateRegressed') return undefined;
    throw error;
  }
}

/** What of the state decides. @throws stalled(StateInvalid) */
export async function readCheckpoint(engine: VersionedEngine, request: EngineRequest): Promise<Checkpoint> {
  const state = await readState(engine, request);
  if (state === undefined) return ABSENT;
  return state.from === 'file' ? parseStateFile(state.text) : parseExport(state.text);
}

/** The deployment itself; an empty document where there is none. @throws stalled(StateInvalid) */
export async function readDeployment(engine: VersionedEngine, request: EngineRequest): Promise<Document> {
  const state = await readState(engine, request);
  if (state === undefined) return {};
  const deployment = state.from === 'file' ? deploymentOfFile(state.text) : deploymentOfExport(state.text);
  return isDocument(deployment) ? deployment : {};
}
