import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import type { Part } from './artifact-parts.ts';
import { DEFAULT_IGNORE, IGNORE_FILE, parseIgnore, type Ignore } from './ignore.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { readIgnoreFile } from './prune.ts';

/** One file or link of a folder; paths are relative with `/`. */
export interface PackedFile {
  path: string;
  type: 'file' | 'symlink';
  executable: boolean;
  /** Bytes; 0 of a link. */
  size: number;
}

/** What tools leave in these folders for themselves: it is no part of what is used, and differs from machine to machine. */
const PART_IGNORE: Readonly<Record<Part, string>> = {
  dependencies: '/.cache\n/.package-lock.json\n/.vite\n/.vite-temp',
  plugins: '/*.lock',
  policy: '.git\n.pulumi',
};

async function walk(dir: string, prefix: string, ignore: Ignore, found: PackedFile[]): Promise<void> {
  for (const entry of await readdir(join(dir, prefix), { withFileTypes: true })) {
    const path = `${prefix}${entry.name}`;
    if (ignore(path, entry.isDirectory())) continue;
    if (entry.isDirectory()) {
      await walk(dir, `${path}/`, ignore, found);
      continue;
    }
    if (!entry.isFile() && !entry.isSymbolicLink()) {
      throw stalled(
        'ProgramInvalid',
        `${path} is neither file, folder nor link; remove it or name it in ${IGNORE_FILE}`,
      );
    }
    if (found.length >= DEFAULT_LIMITS.maxEntries) {
      throw stalled(
        'ArtifactTooLarge',
        `${dir} holds more than ${DEFAULT_LIMITS.maxEntries} files; see ${IGNORE_FILE}`,
      );
    }
    found.push(await describe(dir, path, entry.isFile()));
  }
}

async function describe(dir: string, path: string, isFile: boolean): Promise<PackedFile> {
  if (!isFile) return { path, type: 'symlink', executable: false, size: 0 };
  const { mode, size } = await stat(join(dir, path));
  if (size > DEFAULT_LIMITS.maxFileBytes) {
    throw stalled(
      'ArtifactTooLarge',
      `${path} is larger than ${DEFAULT_LIMITS.maxFileBytes} bytes; see ${IGNORE_FILE}`,
    );
  }
  return { path, type: 'file', executable: (mode & 0o100) !== 0, size };
}

async function list(dir: string, ignore: Ignore): Promise<PackedFile[]> {
  const info = await stat(dir).catch(() => undefined);
  if (info?.isDirectory() !== true) throw stalled('ProgramInvalid', `${dir} is no folder; name an existing one`);
  const found: PackedFile[] = [];
  await walk(dir, '', ignore, found);
  return found.toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

/**
 * The files of a program that belong into its package, sorted by bytes. Folders are not listed: an empty one is nothing
 * git would keep either. Left out: `DEFAULT_IGNORE` and what `.sourceignore` names.
 * @throws ReconcileError stalled ProgramInvalid | SpecInvalid | ArtifactTooLarge
 */
export async function listProgram(dir: string): Promise<PackedFile[]> {
  const own = await readIgnoreFile(dir);
  return await list(dir, parseIgnore(`${DEFAULT_IGNORE}\n${own}`, IGNORE_FILE));
}

/** Every file of a folder that was unpacked. @throws as `listProgram` */
export async function listTree(dir: string): Promise<PackedFile[]> {
  return await list(dir, () => false);
}

/** The files of a part as its layer has them. @throws as `listProgram`; ProgramInvalid for a plugin installed half-way */
export async function listPart(part: Part, dir: string): Promise<PackedFile[]> {
  const files = await list(dir, parseIgnore(PART_IGNORE[part], part));
  const half = part === 'plugins' ? files.find(({ path }) => /^[^/]+\.partial$/.test(path)) : undefined;
  if (half !== undefined)
    throw stalled('ProgramInvalid', `${join(dir, half.path)} says that a plugin is half installed; install it again`);
  if (files.length === 0)
    throw stalled('ProgramInvalid', `${dir} holds no files for a layer of ${part}; name another folder`);
  return files;
}
