import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import type { ArtifactLimits } from './limits.ts';

const MAX_NAME_BYTES = 255;
const MAX_LINK_HOPS = 40;

type Kind = 'file' | 'directory' | 'symlink';
interface Entry {
  path: string;
  kind: Kind;
  target: string;
}

/**
 * Names of an archive that is being unpacked, kept in memory: whether a path may be written is decided here alone, never
 * by asking the file system, where an earlier entry may have laid a trap.
 */
export interface EntryTable {
  /** The checked path, relative, without `.` parts; undefined for the root itself, which needs no entry. */
  addDirectory(name: string): string | undefined;
  addFile(name: string): string;
  addSymlink(name: string, target: string): string;
  /** Links with their targets, each followed through all others; call it once everything is added. */
  links(): Array<{ path: string; target: string }>;
}

/** Why an entry is never unpacked, as a ReconcileError that stalls. */
export function unpackRefused(name: string, why: string): ReconcileError {
  const shown = JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
  return stalled(
    'UnpackRefused',
    `the archive holds ${shown}, ${why}; nothing of it was used. Take it out and push again`,
  );
}

/** Two names that one file system or another takes for the same. */
function foldedKey(path: string): string {
  return path.normalize('NFC').toUpperCase().toLowerCase();
}

function splitName(name: string, limits: ArtifactLimits): string[] {
  if (name === '') throw unpackRefused(name, 'which has no name');
  if (name.startsWith('/')) throw unpackRefused(name, 'which is an absolute path');
  if (name.includes('\\')) throw unpackRefused(name, 'which has a backslash in its name');
  // U+FFFD stands for bytes that are no UTF-8
  if (/[\p{Cc}\uFFFD]/u.test(name))
    throw unpackRefused(name, 'which has a control character or broken text in its name');
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw unpackRefused(name, 'which leads out of the folder');
  if (parts.length > limits.maxDepth) throw unpackRefused(name, `which is deeper than ${limits.maxDepth} folders`);
  if (Buffer.byteLength(parts.join('/')) > limits.maxPathBytes) {
    throw unpackRefused(name, `whose path is longer than ${limits.maxPathBytes} bytes`);
  }
  if (parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES)) {
    throw unpackRefused(name, `which has a name longer than ${MAX_NAME_BYTES} bytes`);
  }
  return parts;
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

/** An empty table for one unpacking, which may take several archives. */
export function createEntryTable(limits: ArtifactLimits): EntryTable {
  const entries = new Map<string, Entry>();

  function put(entry: Entry): void {
    if (entries.size >= limits.maxEntries) {
      throw stalled(
        'ArtifactTooLarge',
        `the archive holds more than the allowed ${limits.maxEntries} files and folders; leave some out with .sourceignore and push again, or raise PLUMBLINE_MAX_ENTRIES of the worker`,
      );
    }
    entries.set(foldedKey(entry.path), entry);
  }

  function ensureDirectory(path: string): void {
    const met = entries.get(foldedKey(path));
    if (met === undefined) return put({ path, kind: 'directory', target: '' });
    if (met.path !== path) throw unpackRefused(path, `which differs from ${JSON.stringify(met.path)} only by case`);
    if (met.kind !== 'directory') throw unpackRefused(path, `which is a folder here and a ${met.kind} before`);
  }

  function ensureParents(parts: string[]): void {
    for (let depth = 1; depth < parts.length; depth += 1) ensureDirectory(parts.slice(0, depth).join('/'));
  }

  function addLeaf(name: string, kind: Kind, target: string): string {
    const parts = splitName(name, limits);
    const path = parts.join('/');
    if (path === '') throw unpackRefused(name, 'which would replace the folder itself');
    ensureParents(parts);
    const met = entries.get(foldedKey(path));
    if (met?.path === path) throw unpackRefused(name, 'which is in it twice');
    if (met !== undefined) throw unpackRefused(name, `which differs from ${JSON.stringify(met.path)} only by case`);
    put({ path, kind, target });
    return path;
  }

  return {
    addDirectory(name) {
      const parts = splitName(name, limits);
      if (parts.length === 0) return undefined;
      ensureParents(parts);
      const path = parts.join('/');
      ensureDirectory(path);
      return path;
    },
    addFile: (name) => addLeaf(name, 'file', ''),
    addSymlink(name, target) {
      checkTarget(name, target, limits);
      return addLeaf(name, 'symlink', target);
    },
    links() {
      const links = [...entries.values()].filter((entry) => entry.kind === 'symlink');
      for (const link of links) assertInside(link, entries);
      return links.map(({ path, target }) => ({ path, target }));
    },
  };
}
