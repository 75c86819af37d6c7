import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { DEFAULT_IGNORE, IGNORE_FILE, parseIgnore, type Ignore } from './ignore.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { readIgnoreFile } from './prune.ts';

/** One file or link of a program; paths are relative with `/`. */
export interface ProgramFile {
  path: string;
  type: 'file' | 'symlink';
  executable: boolean;
}

async function walk(dir: string, prefix: string, ignore: Ignore, found: ProgramFile[]): Promise<void> {
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
        `${path} is neither file, folder nor link; remove it or name it in .sourceignore`,
      );
    }
    if (found.length >= DEFAULT_LIMITS.maxEntries) {
      throw stalled('ArtifactTooLarge', `${dir} holds more than ${DEFAULT_LIMITS.maxEntries} files; see .sourceignore`);
    }
    found.push(await describe(dir, path, entry.isFile()));
  }
}

async function describe(dir: string, path: string, isFile: boolean): Promise<ProgramFile> {
  if (!isFile) return { path, type: 'symlink', executable: false };
  const { mode, size } = await stat(join(dir, path));
  if (size > DEFAULT_LIMITS.maxFileBytes) {
    throw stalled('ArtifactTooLarge', `${path} is larger than ${DEFAULT_LIMITS.maxFileBytes} bytes; see .sourceignore`);
  }
  return { path, type: 'file', executable: (mode & 0o100) !== 0 };
}

/**
 * The files of a program that belong into its package, sorted by bytes. Folders are not listed: an empty one is nothing
 * git would keep either.
 * @throws ReconcileError stalled ProgramInvalid | ArtifactTooLarge
 */
export async function listProgram(dir: string): Promise<ProgramFile[]> {
  const found: ProgramFile[] = [];
  await walk(dir, '', parseIgnore(`${DEFAULT_IGNORE}\n${await readIgnoreFile(dir)}`, IGNORE_FILE), found);
  return found.toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}
