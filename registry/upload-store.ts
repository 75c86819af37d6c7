import { createHash, randomUUID } from 'node:crypto';
import { open, rm, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { adoptBlob } from './blob-store.ts';
import type { ByteRange } from './byte-range.ts';
import { ifPresent, listDirectory, removeDurably } from './durable-file.ts';
import { RegistryError } from './errors.ts';
import type { Layout } from './layout.ts';
import type { Digest } from './names.ts';

const UPLOAD_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ABANDONED_AFTER_MS = 24 * 60 * 60 * 1000;

/** One upload session; it belongs to a repository and outlives the process. */
export interface Upload {
  id: string;
  path: string;
}

/** Bytes of one request that are added to an upload. */
export interface Chunk {
  body: AsyncIterable<Uint8Array>;
  /** What the client says these bytes are; undefined appends whatever comes. */
  range: ByteRange | undefined;
  /** Largest size of the whole blob, in bytes. */
  maxBytes: number;
}

/** Starts an upload. */
export async function startUpload(layout: Layout, name: string): Promise<Upload> {
  const upload = uploadOf(layout, name, randomUUID());
  await (await open(upload.path, 'wx')).close();
  return upload;
}

/** @throws RegistryError BLOB_UPLOAD_UNKNOWN when the repository has no such upload. */
export async function findUpload(layout: Layout, name: string, id: string): Promise<Upload & { size: number }> {
  const upload = UPLOAD_ID.test(id) ? uploadOf(layout, name, id) : undefined;
  const stats = upload && (await ifPresent(stat(upload.path)));
  if (upload === undefined || stats === undefined) {
    throw new RegistryError(
      'BLOB_UPLOAD_UNKNOWN',
      'no such upload: it was finished, cancelled or given up; start again',
    );
  }
  return { ...upload, size: stats.size };
}

/**
 * Adds bytes in order. What arrived before the connection broke is kept, so that a client can go on from there.
 * @returns the upload's size in bytes.
 * @throws RegistryError 416 out of order, SIZE_INVALID when the length is not the range's, 413 when it grows too large.
 */
export async function appendToUpload(upload: Upload, chunk: Chunk): Promise<number> {
  const handle = await open(upload.path, 'r+');
  try {
    const start = (await handle.stat()).size;
    if (chunk.range !== undefined && chunk.range.start !== start) throw outOfOrder(start);
    const end = await writeAll(handle, start, chunk);
    if (chunk.range !== undefined && end !== chunk.range.end + 1) {
      await handle.truncate(start);
      throw new RegistryError(
        'SIZE_INVALID',
        `Content-Range asks for ${chunk.range.end + 1 - start} bytes, ${end - start} came`,
      );
    }
    return end;
  } finally {
    await handle.close();
  }
}

/**
 * Makes a finished upload a blob of the repository.
 * @throws RegistryError DIGEST_INVALID when the bytes have another digest; the upload is gone then.
 */
export async function finishUpload(layout: Layout, name: string, upload: Upload, digest: Digest): Promise<void> {
  const actual = await hashAndFlush(upload.path, digest.algorithm);
  if (actual !== digest.hex) {
    await cancelUpload(upload);
    throw new RegistryError(
      'DIGEST_INVALID',
      `the content has the digest ${digest.algorithm}:${actual}, not ${digest.text}`,
    );
  }
  await adoptBlob(layout, name, digest, upload.path);
}

/** Drops what an upload holds beyond `size` bytes. */
export async function truncateUpload(upload: Upload, size: number): Promise<void> {
  const handle = await ifPresent(open(upload.path, 'r+'));
  if (handle === undefined) return;
  try {
    await handle.truncate(size);
  } finally {
    await handle.close();
  }
}

/** Gives an upload up. */
export async function cancelUpload(upload: Upload): Promise<void> {
  await removeDurably(upload.path);
}

/** Removes uploads nobody added to for a day. */
export async function removeAbandonedUploads(layout: Layout, now: Date): Promise<void> {
  for (const file of await listDirectory(layout.uploads)) {
    const path = join(layout.uploads, file);
    const stats = await ifPresent(stat(path));
    if (stats !== undefined && now.getTime() - stats.mtimeMs > ABANDONED_AFTER_MS) await rm(path, { force: true });
  }
}

function uploadOf(layout: Layout, name: string, id: string): Upload {
  // The repository is part of the file's name: an upload cannot be finished into another one.
  const owner = createHash('sha256').update(name).digest('hex').slice(0, 16);
  return { id, path: join(layout.uploads, `${id}.${owner}`) };
}

async function writeAll(handle: FileHandle, start: number, chunk: Chunk): Promise<number> {
  let position = start;
  for await (const bytes of chunk.body) {
    if (position + bytes.length > chunk.maxBytes) {
      throw new RegistryError('SIZE_INVALID', `a blob holds at most ${chunk.maxBytes} bytes`, { status: 413 });
    }
    for (let written = 0; written < bytes.length;) {
      written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
    }
    position += bytes.length;
  }
  return position;
}

async function hashAndFlush(path: string, algorithm: Digest['algorithm']): Promise<string> {
  const hash = createHash(algorithm);
  const buffer = Buffer.allocUnsafe(1024 * 1024);
  const handle = await open(path, 'r+');
  try {
    for (let position = 0; ;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

function outOfOrder(size: number): RegistryError {
  return new RegistryError('BLOB_UPLOAD_INVALID', `the next chunk must start at byte ${size}`, {
    status: 416,
    headers: { Range: uploadRange(size) },
  });
}

/** `Range` of an upload of `size` bytes; `0-0` stands for none and for one, as in CNCF Distribution. */
export function uploadRange(size: number): string {
  return `0-${Math.max(size - 1, 0)}`;
}
