import { join } from 'node:path';
import { ReconcileError, waiting } from '../domain/errors.ts';
import type { StateIdentity } from '../domain/plan.ts';
import { isService, objectPrefix } from './backends.ts';
import type { EngineRequest } from './port.ts';
import { runEngine, type EngineOptions } from './run-engine.ts';
import { readLocks, removeLock, stateFolder } from './state-files.ts';

/** The UTS host name of a run, by which its lock is told from everybody else's: in a PID namespace the pid means nothing. */
export function runHostname(runId: string): string {
  return `plumb-${runId}`;
}

/** A lock as a backend holds it: the text the engine wrote. */
interface Lock {
  hostname: string;
  username: string;
  pid: number;
  timestamp: string;
}

function describe(lock: Lock): string {
  return `${lock.username}@${lock.hostname} (pid ${lock.pid}) since ${lock.timestamp}`;
}

/**
 * Removes the locks that the given runs of this installation left, and no other. Only for runs whose processes are proved dead.
 * Backends other than `file://` list no locks here: the engine itself reports theirs; see `withoutOwnLocks`.
 * @returns who else holds a lock, if anyone.
 */
export async function releaseOwnLocks(identity: StateIdentity, runIds: string[]): Promise<string | undefined> {
  const folder = stateFolder(identity.backend);
  if (folder === undefined) return undefined;
  const ours = new Set(runIds.map(runHostname));
  const foreign: Lock[] = [];
  for (const lock of await readLocks(folder, identity)) {
    if (ours.has(lock.hostname)) await removeLock(lock);
    else foreign.push(lock);
  }
  return foreign.length === 0 ? undefined : foreign.map(describe).join(', ');
}

/** A lock the engine reports, with the name of its object. */
interface ReportedLock extends Lock {
  /** `<uuid>.json` */
  name: string;
}

const LOCKED = /the stack is currently locked by (\d+) lock\(s\)/;
const HOLDER = /^ {2}(\S+): created by (.*)@(\S+) \(pid (\d+)\) at (\S+)$/gm;
const OBJECT = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.json$/;

/**
 * The locks in the engine's own report (3.259.0, pkg/backend/diy/lock.go); undefined when the text is none. Holders whose line
 * cannot be read are left out, so the number says whether all are known.
 */
export function reportedLocks(text: string): { count: number; locks: ReportedLock[] } | undefined {
  const found = LOCKED.exec(text);
  if (found === null) return undefined;
  const locks = [...text.slice(found.index).matchAll(HOLDER)].flatMap(
    ([, url = '', username = '', hostname = '', pid, timestamp = '']) => {
      const name = url.split('?', 1)[0]?.split('/').at(-1) ?? '';
      return OBJECT.test(name) ? [{ name, username, hostname, pid: Number(pid), timestamp }] : [];
    },
  );
  return { count: Number(found[1]), locks };
}

/** The key of a lock's object in its bucket or table. */
export function lockKey({ backend, organization, project, stack }: StateIdentity, name: string): string {
  return `${objectPrefix(backend)}.pulumi/locks/${organization}/${project}/${stack}/${name}`;
}

const FOREIGN_RETRY_MS = 30_000;

class StateLockedError extends ReconcileError {
  readonly locks: readonly ReportedLock[];
  /** Whether every holder is among them. */
  readonly complete: boolean;

  constructor(message: string, report: { count: number; locks: ReportedLock[] }) {
    super({ kind: 'waiting', reason: 'StateLocked', message, retryAfterMs: FOREIGN_RETRY_MS });
    this.locks = report.locks;
    this.complete = report.locks.length === report.count && report.count > 0;
  }
}

/** What a service like Pulumi Cloud says instead (pkg/backend/httpstate/backend.go). */
const CONFLICT = /\[409\] [^\n]*/;

/**
 * The error for an engine that found its state locked; undefined when it says nothing of the kind. Only for a failure before anything
 * changed and before the first event: later, a program or provider may use the same words. (A service refuses an update only after
 * its preview.)
 */
export function lockedError(text: string, identity: StateIdentity): ReconcileError | undefined {
  const { project, stack } = identity;
  if (isService(identity.backend)) {
    const conflict = CONFLICT.exec(text);
    if (conflict === null) return undefined;
    const message = `the service says of ${project}/${stack}: ${conflict[0]}; waiting for the other update to end. If it is dead, cancel it there`;
    return waiting('StateLocked', message, FOREIGN_RETRY_MS);
  }
  const report = reportedLocks(text);
  if (report === undefined) return undefined;
  const holders = report.locks.map((lock) => `${describe(lock)} by ${lockKey(identity, lock.name)}`);
  const named = holders.length === 0 ? `${report.count} holders` : holders.join(', ');
  const message = `the state of ${project}/${stack} is locked by ${named}; waiting for it to end. If its machine is gone, delete exactly that lock; \`pulumi cancel\` would delete every lock`;
  return new StateLockedError(message, report);
}

const REMOVER = join(import.meta.dirname, 'host', 'remove-lock.ts');
const REMOVAL_MS = 60_000;

async function removeReported(engine: EngineOptions, request: EngineRequest, lock: ReportedLock): Promise<boolean> {
  const ended = await runEngine(engine, request, {
    program: engine.nodePath,
    args: [REMOVER, lockKey(request.identity, lock.name), lock.hostname],
    // A run with a network of its own goes out by a proxy.
    extraEnvironment: { NODE_USE_ENV_PROXY: '1' },
    timeoutMs: Math.min(REMOVAL_MS, request.timeoutMs),
    maxOutputBytes: 64 * 1024,
    onOutput: () => undefined,
  });
  const isGone = ended.code === 0 && ['removed', 'gone'].includes(ended.stdout);
  const outcome = isGone
    ? 'was removed'
    : `could not be removed: ${engine.scrubber.scrub(ended.stderr).trim().split('\n').at(-1) ?? ''}`;
  request.onOutput(`the lock that dead run ${lock.hostname} left ${outcome}\n`);
  return isGone;
}

async function removeOwn(
  engine: EngineOptions,
  request: EngineRequest,
  locks: readonly ReportedLock[],
): Promise<boolean> {
  if (stateFolder(request.identity.backend) !== undefined) {
    return (await releaseOwnLocks(request.identity, deadRuns(request))) === undefined;
  }
  for (const lock of locks) if (!(await removeReported(engine, request, lock))) return false;
  return true;
}

/** The lease proves earlier runs dead; the run's own earlier process was waited for. */
function deadRuns({ runId, deadRunIds = [] }: EngineRequest): string[] {
  return [...deadRunIds, runId];
}

/**
 * Does something that takes the backend's lock. Where only dead runs of ours hold it, exactly their lock objects are removed, and it
 * is tried once more; see docs/adr/0009-only-a-named-lock-is-removed.md.
 * @throws ReconcileError waiting(StateLocked) naming every holder
 */
export async function withoutOwnLocks<T>(
  engine: EngineOptions,
  request: EngineRequest,
  act: () => Promise<T>,
): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const dead = new Set(deadRuns(request).map(runHostname));
    const isOurs =
      error instanceof StateLockedError && error.complete && error.locks.every((lock) => dead.has(lock.hostname));
    if (!isOurs || !(await removeOwn(engine, request, error.locks))) throw error;
    return act();
  }
}
