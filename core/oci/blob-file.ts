import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stalled, transient } from '#core/domain/errors.ts';
import { syncDirectory } from '#core/sync-directory.ts';
import { isDiskFull } from './disk.ts';

const READ_BYTES = 256 * 1024;
/** A link could lead anywhere and a pipe would be waited for without end. */
const READ_ONLY = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
/** Names of unfinished files; whoever finds an old one may remove it. */
export const UNFINISHED = '.tmp-';

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}

/** A full disk as an error that names it and is tried again, since room may be made; everything else as it is. */
export function diskError(error: unknown, path: string): unknown {
  if (!isDiskFull(error)) return error;
  return transient(
    'DiskFull',
    `the disk of ${dirname(path)} is full: nothing more can be stored; make room on it`,
    error,
  );
}

/** Opens a regular file; undefined when there is none. @throws ReconcileError stalled ArtifactInvalid for anything else */
export async function openFile(path: string): Promise<{ handle: FileHandle; size: number } | undefined> {
  const handle = await open(path, READ_ONLY).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined;
    if (hasCode(error, 'ELOOP', 'ENXIO')) throw notFile(path);
    throw error;
  });
  if (handle === undefined) return undefined;
  const info = await handle.stat();
  if (info.isFile()) return { handle, size: info.size };
  await handle.close();
  throw notFile(path);
}

function notFile(path: string) {
  return stalled('ArtifactInvalid', `${path} is no regular file; links and devices are never read`);
}

/** The bytes of an open file from its start, through a handle the caller closes. */
export async function* readFrom(handle: FileHandle): AsyncGenerator<Uint8Array, void> {
  for (let position = 0; ;) {
    // A buffer of its own for each chunk: consumers may keep them.
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/**
 * Writes a whole file that is seen complete or not at all, also after a power cut; after an error nothing is left.
 * @returns its bytes
 * @throws ReconcileError transient DiskFull naming the disk; errors of the source as they are
 */
export async function writeFileWhole(path: string, source: AsyncIterable<Uint8Array>): Promise<number> {
  const draft = join(dirname(path), `${UNFINISHED}${randomUUID()}`);
  try {
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(draft, 'wx', 0o644);
    let size = 0;
    try {
      for await (const chunk of source) {
        await handle.writeFile(chunk);
        size += chunk.byteLength;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, path);
    await syncDirectory(dirname(path));
    return size;
  } catch (error) {
    await rm(draft, { force: true });
    throw diskError(error, path);
  }
}
