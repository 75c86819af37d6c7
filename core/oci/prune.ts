import { lstat, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { IGNORE_FILE, MAX_IGNORE_BYTES, parseIgnore, type Ignore } from './ignore.ts';

/** The patterns of a folder's own `.sourceignore`; empty without one. @throws ReconcileError stalled ProgramInvalid */
export async function readIgnoreFile(dir: string): Promise<string> {
  const path = join(dir, IGNORE_FILE);
  const info = await lstat(path).catch(() => undefined);
  if (info === undefined) return '';
  if (!info.isFile() || info.size > MAX_IGNORE_BYTES) {
    throw stalled('ProgramInvalid', `${IGNORE_FILE} must be a plain file of at most ${MAX_IGNORE_BYTES} bytes`);
  }
  return await readFile(path, 'utf8');
}

/** The rules for an unpacked tree: its own `.sourceignore`, and over it `spec.source.ignore`. */
export async function ignoreOf(tree: string, ignore: string | undefined): Promise<Ignore | undefined> {
  const own = await readIgnoreFile(tree);
  if (own === '' && ignore === undefined) return undefined;
  return parseIgnore(`${own}\n${ignore ?? ''}`, ignore === undefined ? IGNORE_FILE : 'spec.source.ignore');
}

/**
 * Removes from a fresh tree of ours what its rules leave out; links are removed, never followed. The file of rules stays.
 * @throws ReconcileError stalled SpecInvalid | ProgramInvalid for rules that cannot be used
 */
export async function pruneTree(tree: string, ignore: string | undefined, signal: AbortSignal): Promise<void> {
  const ignored = await ignoreOf(tree, ignore);
  if (ignored !== undefined) await prune(tree, '', ignored, signal);
}

async function prune(tree: string, prefix: string, ignored: Ignore, signal: AbortSignal): Promise<void> {
  for (const entry of await readdir(join(tree, prefix), { withFileTypes: true })) {
    signal.throwIfAborted();
    const path = `${prefix}${entry.name}`;
    if (path === IGNORE_FILE) continue;
    if (ignored(path, entry.isDirectory())) await rm(join(tree, path), { recursive: true });
    else if (entry.isDirectory()) await prune(tree, `${path}/`, ignored, signal);
  }
}
