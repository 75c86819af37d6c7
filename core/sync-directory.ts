import { open } from 'node:fs/promises';

/** Flushes a folder's entries to disk: without it a rename can be lost in a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
