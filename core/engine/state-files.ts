import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { StateIdentity } from '../domain/plan.ts';
import { stateInvalid } from './checkpoint.ts';

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

const PACKED: readonly (readonly [ending: string, unpack: (bytes: Buffer) => Buffer])[] = [
  ['', (bytes) => bytes],
  ['.gz', (bytes) => gunzipSync(bytes, { maxOutputLength: MAX_STATE_BYTES })],
  ['.zst', (bytes) => zstdDecompressSync(bytes, { maxOutputLength: MAX_STATE_BYTES })],
];

/**
 * The checkpoint's JSON text, unpacked where the backend was told to pack it; undefined when there is no state.
 * @throws ReconcileError stalled(StateInvalid) for one that is cut, or over 512 MiB unpacked
 */
export async function readStateFile(folder: string, { project, stack }: StateIdentity): Promise<string | undefined> {
  const path = join(folder, 'stacks', project, `${stack}.json`);
  for (const [ending, unpack] of PACKED) {
    const size = await stat(path + ending).then((found) => found.size, () => 0); // prettier-ignore
    if (size > MAX_STATE_BYTES)
      throw stateInvalid(`${stack}.json${ending} is larger than ${MAX_STATE_BYTES / 2 ** 20} MiB`);
    const bytes = await readIfThere(path + ending);
    if (bytes === undefined) continue;
    try {
      return unpack(bytes).toString('utf8');
    } catch (cause) {
      throw stateInvalid(`${stack}.json${ending} is cut, or too large unpacked`, cause);
    }
  }
  return undefined;
}

/** A lock of a file backend: the text the engine wrote, and where it lies. */
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
