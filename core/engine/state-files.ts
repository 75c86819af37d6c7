import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { StateIdentity } from '../domain/plan.ts';

/** A checkpoint larger than this, unpacked, is refused rather than read into memory. */
const MAX_STATE_BYTES = 512 * 1024 * 1024;

/** The folder of a `file://` backend; undefined for every other backend. */
export function stateFolder(backend: string): string | undefined {
  if (!backend.startsWith('file://')) return undefined;
  const [address] = backend.split('?', 1);
  return join(fileURLToPath(address ?? backend), '.pulumi');
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** The checkpoint's JSON text, unpacked where the backend was told to pack it; undefined when there is no state. */
export async function readStateFile(folder: string, { project, stack }: StateIdentity): Promise<string | undefined> {
  const path = join(folder, 'stacks', project, `${stack}.json`);
  const limit = { maxOutputLength: MAX_STATE_BYTES };
  const plain = await readIfThere(path);
  if (plain !== undefined) return plain.toString('utf8');
  const gzip = await readIfThere(`${path}.gz`);
  if (gzip !== undefined) return gunzipSync(gzip, limit).toString('utf8');
  const zstd = await readIfThere(`${path}.zst`);
  return zstd === undefined ? undefined : zstdDecompressSync(zstd, limit).toString('utf8');
}

/** Who holds a lock of the backend: the text the engine wrote. */
export interface StateLock {
  path: string;
  hostname: string;
  username: string;
  pid: number;
  timestamp: string;
}

function parseLock(path: string, text: string): StateLock {
  const written: unknown = JSON.parse(text);
  const value = typeof written === 'object' && written !== null ? Object.entries(written) : [];
  const field = (name: string) => String(value.find(([key]) => key === name)?.[1] ?? '');
  return {
    path,
    hostname: field('hostname'),
    username: field('username'),
    pid: Number(field('pid')),
    timestamp: field('timestamp'),
  };
}

/** All locks on a stack's state. */
export async function readLocks(folder: string, { organization, project, stack }: StateIdentity): Promise<StateLock[]> {
  const locks = join(folder, 'locks', organization, project, stack);
  const names = await readdir(locks).catch((error: unknown) => {
    if (isAbsent(error)) return [];
    throw error;
  });
  const found: StateLock[] = [];
  for (const name of names.filter((candidate) => candidate.endsWith('.json'))) {
    const text = await readIfThere(join(locks, name));
    if (text !== undefined) found.push(parseLock(join(locks, name), text.toString('utf8')));
  }
  return found;
}

/** Removes a lock file and the attributes the file backend keeps beside it. */
export async function removeLock(lock: StateLock): Promise<void> {
  await rm(lock.path, { force: true });
  await rm(`${lock.path}.attrs`, { force: true });
}
