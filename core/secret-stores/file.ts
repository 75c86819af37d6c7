import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { isWithin } from '../engine/sandbox.ts';
import { MAX_STORE_BYTES } from './ask.ts';
import { cannotBeUsed, notThere, storeFailed, type ReadStore, type StoreContent, type StoreRead } from './port.ts';

/** Editors and some tools end a file with one; a value hardly does. */
function withoutLastNewline(text: string): string {
  return text.replace(/\r?\n$/, '');
}

async function resolveBelow(read: StoreRead, root: string, path: string): Promise<string> {
  const real = await realpath(path).catch((error: unknown) => {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw notThere(read, 'there is no such file');
    throw storeFailed(read, `the file cannot be opened (${String(code)})`);
  });
  if (real === root || !isWithin(real, root))
    throw cannotBeUsed(read, 'the path leads out of the folder of the tenant');
  return real;
}

async function readOne(read: StoreRead, path: string): Promise<string> {
  const found = await stat(path);
  if (!found.isFile()) throw cannotBeUsed(read, 'the path is neither a file nor a folder of files');
  if (found.size > MAX_STORE_BYTES) throw storeFailed(read, `a file is larger than ${MAX_STORE_BYTES} bytes`);
  const text = await readFile(path, { encoding: 'utf8', signal: read.signal });
  return withoutLastNewline(text);
}

async function readFolder(read: StoreRead, root: string, folder: string): Promise<StoreContent> {
  // Kubernetes mounts hold `..data` and the like beside the keys, which are links into it.
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  const values: Record<string, string> = {};
  for (const name of names) {
    const path = await resolveBelow(read, root, join(folder, name));
    if ((await stat(path)).isFile()) values[name] = await readOne(read, path);
  }
  return { values };
}

/**
 * Files of the worker, mounted by whoever runs it: `<folder>/<tenant>/<path>` is a folder with a file a key, or one file.
 * Links are followed and must end below the tenant's own folder.
 */
export function fileStore(folder: string): ReadStore {
  return async (read) => {
    if (folder === '')
      throw cannotBeUsed(read, 'this installation reads no files: set PLUMBLINE_SECRET_FILES of the worker');
    const { path } = read.external;
    const wanted = join(folder, read.tenant, path);
    const own = join(folder, read.tenant);
    if (path.includes('\0') || relative(own, wanted).startsWith('..'))
      throw cannotBeUsed(read, 'the path leads out of the folder of the tenant');
    const root = await realpath(own).catch(() => {
      throw notThere(read, `the worker has no folder ${own}`);
    });
    const real = await resolveBelow(read, root, wanted);
    if ((await stat(real)).isDirectory()) return await readFolder(read, root, real);
    return { text: await readOne(read, real) };
  };
}
