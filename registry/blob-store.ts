import { open, stat, unlink, type FileHandle } from 'node:fs/promises';
import { ifPresent, linkDurably, removeDurably } from './durable-file.ts';
import { hasCode } from './errors.ts';
import { blobPath, contentPath, type Layout } from './layout.ts';
import type { Digest } from './names.ts';

/** Size of a blob in bytes; undefined when the repository does not have it. */
export async function blobSize(layout: Layout, name: string, digest: Digest): Promise<number | undefined> {
  return (await ifPresent(stat(blobPath(layout, name, digest))))?.size;
}

/** Opens a blob for reading; it stays readable when it is deleted meanwhile. The caller closes the handle. */
export async function openBlob(
  layout: Layout,
  name: string,
  digest: Digest,
): Promise<{ handle: FileHandle; size: number } | undefined> {
  const handle = await ifPresent(open(blobPath(layout, name, digest), 'r'));
  if (handle === undefined) return undefined;
  try {
    return { handle, size: (await handle.stat()).size };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Makes a file a blob of the repository, at once; it must be flushed and its digest checked. The file is consumed. */
export async function adoptBlob(layout: Layout, name: string, digest: Digest, file: string): Promise<void> {
  const shared = contentPath(layout, digest);
  await linkDurably(file, shared);
  try {
    await linkDurably(shared, blobPath(layout, name, digest));
  } catch (error) {
    // The last other reference was deleted in between.
    if (!hasCode(error, 'ENOENT')) throw error;
    await linkDurably(file, blobPath(layout, name, digest));
  }
  await unlink(file);
}

/** Takes a blob over from another repository, or from any when `from` is undefined. @returns false when it is not there. */
export async function mountBlob(
  layout: Layout,
  name: string,
  digest: Digest,
  from: string | undefined,
): Promise<boolean> {
  const source = from === undefined ? contentPath(layout, digest) : blobPath(layout, from, digest);
  if ((await ifPresent(stat(source))) === undefined) return false;
  try {
    await linkDurably(source, blobPath(layout, name, digest));
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
  return true;
}

/** Takes a blob out of the repository; its bytes go when no other repository has it. @returns false when there was none. */
export async function deleteBlob(layout: Layout, name: string, digest: Digest): Promise<boolean> {
  const deleted = await removeDurably(blobPath(layout, name, digest));
  const shared = contentPath(layout, digest);
  if ((await ifPresent(stat(shared)))?.nlink === 1) await removeDurably(shared);
  return deleted;
}
