import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory } from '#core/sync-directory.ts';
import { hasCode } from './errors.ts';

/** Makes a folder and its parents, each durable in its parent. */
export async function ensureDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let made = path; ; made = dirname(made)) {
    await syncDirectory(dirname(made));
    if (made === first) return;
  }
}

/** Writes a whole file so that readers and crashes see the old content or the new, never a part. */
export async function writeDurably(temporary: string, path: string, bytes: string | Buffer): Promise<void> {
  const draft = join(temporary, randomUUID());
  const handle = await open(draft, 'wx');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await ensureDirectory(dirname(path));
  await rename(draft, path);
  await syncDirectory(dirname(path));
}

/** Gives a file a second name at once and durably; a name that is taken is left as it is. */
export async function linkDurably(from: string, to: string): Promise<void> {
  await ensureDirectory(dirname(to));
  try {
    await link(from, to);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  await syncDirectory(dirname(to));
}

/** Removes a file durably. @returns false when there was none. */
export async function removeDurably(path: string): Promise<boolean> {
  try {
    await unlink(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
  await syncDirectory(dirname(path));
  return true;
}

/** Names in a folder in code unit order; none when the folder does not exist. */
export async function listDirectory(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Waits for a read of something that may not exist; undefined when it does not. */
export async function ifPresent<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}
