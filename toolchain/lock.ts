import { link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { identify, isRunning, type ProcessId } from './process.ts';
import { SetupError } from './setup-error.ts';

/** How long a lock waits, and what is told while it does. */
export interface LockOptions {
  /** Milliseconds until giving up. */
  limitMs: number;
  /** Called once, as soon as another process is found to hold the lock. */
  onWait?: (holderPid: number) => void;
}

const breakerAgeMs = 10_000;

/**
 * Runs `work` while this process holds the lock file `path`; a lock whose holder is dead is taken over.
 * @throws SetupError when another living process holds it for longer than `limitMs`.
 */
export async function withLock<T>(path: string, options: LockOptions, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  const token = randomUUID();
  await acquire(path, token, options);
  try {
    return await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function acquire(path: string, token: string, { limitMs, onWait }: LockOptions): Promise<void> {
  const end = performance.now() + limitMs;
  const own = await identify(process.pid);
  const draft = `${path}.${token}`;
  await writeFile(draft, JSON.stringify({ ...own, token }));
  try {
    for (let told = false; !(await linkIfFree(draft, path)); await delay(50)) {
      const holder = await readHolder(path);
      if (holder === undefined) continue;
      if (!(await isRunning(holder))) {
        await breakStale(path);
        continue;
      }
      if (!told) onWait?.(holder.pid);
      told = true;
      if (performance.now() > end)
        throw new SetupError(`${path} is held by process ${holder.pid}; wait for it, or end it, and try again`);
    }
  } finally {
    await rm(draft, { force: true });
  }
}

/** A hard link appears whole or not at all, so nobody ever reads a half-written holder. */
async function linkIfFree(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function readHolder(path: string): Promise<ProcessId | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  if (text === '') return undefined;
  const holder: unknown = JSON.parse(text);
  const known = typeof holder === 'object' && holder !== null && 'pid' in holder && 'started' in holder;
  return known ? { pid: Number(holder.pid), started: String(holder.started) } : { pid: 0, started: '' };
}

/** Only one waiter at a time may break a lock: two could otherwise remove each other's fresh one. */
async function breakStale(path: string): Promise<void> {
  const breaker = `${path}.break`;
  try {
    await writeFile(breaker, '', { flag: 'wx' });
  } catch {
    const age = await stat(breaker).then(
      (found) => Date.now() - found.mtimeMs,
      () => 0,
    );
    // Rename first: of several waiters that find a breaker's left-over, one gets it.
    if (age > breakerAgeMs) await rename(breaker, `${breaker}.old`).catch(() => undefined);
    return;
  }
  try {
    const holder = await readHolder(path);
    if (holder !== undefined && !(await isRunning(holder))) await rm(path, { force: true });
  } finally {
    await rm(breaker, { force: true });
  }
}
