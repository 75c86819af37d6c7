import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** A holder says this often that it lives. */
const TOUCH_MS = 1_000;

/** A lock that was not touched for so long belongs to a process that is dead or stopped. */
const STALE_MS = 10_000;

const POLL_MS = 100;

async function tryCreate(path: string, token: string): Promise<boolean> {
  try {
    await writeFile(path, token, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function removeStale(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined && Date.now() - found.mtimeMs > STALE_MS) await rm(path, { force: true });
}

/**
 * Runs `action` while no other process runs one under the same lock file, as far as a file can promise that: a stopped
 * holder loses it after 10 s. So it saves work; that two at once do no harm is the action's own business.
 * @throws the signal's reason while waiting, and what `action` throws.
 */
export async function singleFlight<T>(path: string, signal: AbortSignal, action: () => Promise<T>): Promise<T> {
  const token = `${process.pid} ${crypto.randomUUID()}`;
  while (!(await tryCreate(path, token))) {
    signal.throwIfAborted();
    await removeStale(path);
    await delay(POLL_MS);
  }
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  try {
    return await action();
  } finally {
    clearInterval(timer);
    const holder = await readFile(path, 'utf8').catch(() => '');
    if (holder === token) await rm(path, { force: true });
  }
}
