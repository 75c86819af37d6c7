import { foldedKey, splitName, unpackRefused } from './entry-name.ts';
import { createEntryCounter, createEntrySet, type Entry, type Removed } from './entry-set.ts';
import type { ArtifactLimits } from './limits.ts';

const MAX_LINK_HOPS = 40;

/**
 * Names of an archive that is being unpacked, kept in memory: whether a path may be written is decided here alone, never
 * by asking the file system, where an earlier entry may have laid a trap.
 */
export interface EntryTable {
  /** The checked path, relative, without `.` parts; undefined for the root itself, which needs no entry. */
  addDirectory(name: string): string | undefined;
  addFile(name: string): string;
  addSymlink(name: string, target: string): string;
  /** From here on, entries may take the place of earlier ones, as in the layers of an image. */
  nextLayer(): void;
  /** Forgets what an earlier layer has where this one puts `path`: a file goes for a folder, all of a folder for a file. */
  replace(path: string, isDirectory: boolean): Removed[];
  /**
   * Forgets what earlier layers have at `path` and below it (`childrenOnly`: only below); what the present layer has stays.
   * Root: the empty text. In the order in which it may be removed.
   */
  remove(path: string, childrenOnly: boolean): Removed[];
  /** Links with their targets, each followed through all others; call it once everything is added. */
  links(): Array<{ path: string; target: string }>;
}

function checkTarget(name: string, target: string, limits: ArtifactLimits): void {
  if (target === '') throw unpackRefused(name, 'a link to nothing');
  if (target.startsWith('/')) throw unpackRefused(name, 'a link to an absolute path');
  if (target.includes('\\')) throw unpackRefused(name, 'a link with a backslash in its target');
  if (/[\p{Cc}\uFFFD]/u.test(target) || Buffer.byteLength(target) > limits.maxPathBytes) {
    throw unpackRefused(name, 'a link whose target is not a proper path');
  }
}

/** Follows a link as the kernel would: a folder on the way may itself be a link. */
function assertInside(link: Entry, entries: ReadonlyMap<string, Entry>): void {
  const at = link.path.split('/').slice(0, -1);
  const left = link.target.split('/');
  let hops = 0;
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (at.pop() === undefined) throw unpackRefused(link.path, 'a link that leads out of the folder');
      continue;
    }
    at.push(part);
    const met = entries.get(foldedKey(at.join('/')));
    if (met?.kind !== 'symlink') continue;
    hops += 1;
    if (hops > MAX_LINK_HOPS) throw unpackRefused(link.path, 'a link that goes round in a circle');
    at.pop();
    left.unshift(...met.target.split('/'));
  }
}

/** An empty table for one folder, which may take several archives. */
export function createEntryTable(limits: ArtifactLimits, counter = createEntryCounter(limits)): EntryTable {
  const entries = createEntrySet(counter);

  function addLeaf(name: string, kind: 'file' | 'symlink', target: string): string {
    const path = splitName(name, limits).join('/');
    if (path === '') throw unpackRefused(name, 'which would replace the folder itself');
    entries.addLeaf(path, kind, target);
    return path;
  }

  return {
    addDirectory(name) {
      const path = splitName(name, limits).join('/');
      if (path === '') return undefined;
      entries.addDirectory(path);
      return path;
    },
    addFile: (name) => addLeaf(name, 'file', ''),
    addSymlink(name, target) {
      checkTarget(name, target, limits);
      return addLeaf(name, 'symlink', target);
    },
    nextLayer: entries.nextLayer,
    replace: entries.replace,
    remove: entries.remove,
    links() {
      const links = entries.all().filter((entry) => entry.kind === 'symlink');
      for (const link of links) assertInside(link, entries.byKey);
      return links.map(({ path, target }) => ({ path, target }));
    },
  };
}
