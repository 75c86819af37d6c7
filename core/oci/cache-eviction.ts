import { randomUUID } from 'node:crypto';
import { readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { field, parseJson } from './body.ts';
import { RECORD } from './cache-record.ts';

interface Candidate {
  path: string;
  bytes: number;
  usedAt: number;
}

/** Unfinished work this old belongs to a process that is dead: no fetch lasts so long. */
const SCRATCH_MAX_AGE_MS = 24 * 3_600_000;

/** What another process removes meanwhile is simply not there. */
async function unlessGone<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw error;
  }
}

async function inspect(path: string): Promise<Candidate | undefined> {
  const [info, record] = await Promise.all([unlessGone(stat(path)), unlessGone(readFile(join(path, RECORD)))]);
  if (info === undefined || record === undefined) return undefined;
  const bytes = Number(field(parseJson(record), 'unpackedBytes') ?? 0);
  return { path, bytes, usedAt: info.mtimeMs };
}

/**
 * Takes an entry away by name first, so that nobody finds half of it. Not if it was asked for since it was looked at; put
 * back if it was asked for in that very moment.
 */
async function remove(candidate: Candidate): Promise<boolean> {
  const before = await unlessGone(stat(candidate.path));
  if (before === undefined || before.mtimeMs !== candidate.usedAt) return false;
  const aside = join(candidate.path, '..', `.tmp-${randomUUID()}`);
  if ((await unlessGone(rename(candidate.path, aside).then(() => true))) === undefined) return false;
  const info = await stat(aside);
  if (info.mtimeMs !== candidate.usedAt) {
    const back = await rename(aside, candidate.path).then(
      () => true,
      () => false,
    );
    if (back) return false;
  }
  await rm(aside, { recursive: true, force: true });
  return true;
}

async function removeStale(path: string, now: Date): Promise<void> {
  const info = await unlessGone(stat(path));
  if (info !== undefined && now.getTime() - info.mtimeMs > SCRATCH_MAX_AGE_MS) {
    await rm(path, { recursive: true, force: true });
  }
}

/**
 * Removes the least recently used entries of all tenants until at most `maxBytes` are left. What was asked for within
 * `minIdleMs` stays even then: somebody may be reading it. Reads the record of every entry.
 * @returns bytes that are left
 */
export async function evict(dir: string, policy: { maxBytes: number; minIdleMs: number; now: Date }): Promise<number> {
  const candidates: Candidate[] = [];
  for (const tenant of await readdir(dir)) {
    for (const name of (await unlessGone(readdir(join(dir, tenant)))) ?? []) {
      const path = join(dir, tenant, name);
      if (name.startsWith('.tmp-')) await removeStale(path, policy.now);
      const candidate = name.startsWith('.tmp-') ? undefined : await inspect(path);
      if (candidate !== undefined) candidates.push(candidate);
    }
  }
  let total = candidates.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const candidate of candidates.toSorted((a, b) => a.usedAt - b.usedAt)) {
    const idle = policy.now.getTime() - candidate.usedAt;
    if (total <= policy.maxBytes || idle < policy.minIdleMs) break;
    if (await remove(candidate)) total -= candidate.bytes;
  }
  return total;
}

/** Other processes fill the same folder, so it is looked through at least this often. */
const SCAN_EVERY_MS = 60_000;
/** A cache that is full of what is in use is not looked through for every entry. */
const SCAN_FULL_EVERY_MS = 5_000;

/**
 * Keeps a cache within its size without reading all of it for every entry that is added.
 * @returns what is told the bytes of each new entry
 */
export function createEvictor(
  dir: string,
  policy: { maxBytes: number; minIdleMs: number },
): (addedBytes: number) => Promise<void> {
  let total = 0;
  let nextScan = 0;
  let isFull = false;
  return async (addedBytes) => {
    total += addedBytes;
    const now = new Date();
    const isDue = now.getTime() >= nextScan || (total > policy.maxBytes && !isFull);
    if (!isDue) return;
    nextScan = now.getTime() + SCAN_EVERY_MS;
    total = await evict(dir, { ...policy, now });
    isFull = total > policy.maxBytes;
    if (isFull) nextScan = now.getTime() + Math.min(SCAN_FULL_EVERY_MS, policy.minIdleMs);
  };
}
