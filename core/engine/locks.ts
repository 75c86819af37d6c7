import type { StateIdentity } from '../domain/plan.ts';
import { readLocks, removeLock, stateFolder, type StateLock } from './state-files.ts';

/** The UTS host name of a run, by which its lock file is told from everybody else's: in a PID namespace the pid means nothing. */
export function runHostname(runId: string): string {
  return `plumb-${runId}`;
}

function describe(lock: StateLock): string {
  return `${lock.username}@${lock.hostname} (pid ${lock.pid}) since ${lock.timestamp}`;
}

/**
 * Removes the locks that the given runs of this installation left, and no other. Only for runs whose processes are proved dead.
 * Backends other than `file://` list no locks here: the engine itself reports theirs.
 * @returns who else holds a lock, if anyone.
 */
export async function releaseOwnLocks(identity: StateIdentity, runIds: string[]): Promise<string | undefined> {
  const folder = stateFolder(identity.backend);
  if (folder === undefined) return undefined;
  const ours = new Set(runIds.map(runHostname));
  const foreign: StateLock[] = [];
  for (const lock of await readLocks(folder, identity)) {
    if (ours.has(lock.hostname)) await removeLock(lock);
    else foreign.push(lock);
  }
  return foreign.length === 0 ? undefined : foreign.map(describe).join(', ');
}
