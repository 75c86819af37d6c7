import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import { foldedKey, unpackRefused } from './entry-name.ts';
import type { ArtifactLimits } from './limits.ts';

export type EntryKind = 'file' | 'directory' | 'symlink';

export interface Entry {
  path: string;
  kind: EntryKind;
  /** Of a link. */
  target: string;
  /** The layer that named it last. */
  layer: number;
}

/** What has to go from the disk before an entry may be written; in the order in which it may be removed. */
export interface Removed {
  path: string;
  kind: 'file' | 'directory';
}

/** Counts entries over all folders and layers of an artifact, also those that are passed over or replaced later. */
export interface EntryCounter {
  /** @throws ReconcileError stalled ArtifactTooLarge past the limit */
  add(): void;
  total(): number;
}

export function createEntryCounter({ maxEntries }: Pick<ArtifactLimits, 'maxEntries'>): EntryCounter {
  let total = 0;
  return {
    add() {
      total += 1;
      if (total <= maxEntries) return;
      throw stalled(
        'ArtifactTooLarge',
        `the archive holds more than the allowed ${maxEntries} files and folders; leave some out with .sourceignore and push again, or raise PLUMBLINE_MAX_ENTRIES of the worker and spec.artifacts.maxEntries of the tenant`,
      );
    },
    total: () => total,
  };
}

/** The names of one folder, over all layers. */
export interface EntrySet {
  all(): Entry[];
  /** By what the path is on every file system. */
  byKey: ReadonlyMap<string, Entry>;
  /** @throws ReconcileError stalled UnpackRefused | ArtifactTooLarge */
  addLeaf(path: string, kind: EntryKind, target: string): void;
  /** Enters a folder and those above it; once more is no harm. @throws as `addLeaf` */
  addDirectory(path: string): void;
  nextLayer(): void;
  replace(path: string, isDirectory: boolean): Removed[];
  remove(path: string, childrenOnly: boolean): Removed[];
}

function notOnce(path: string, met: Entry): ReconcileError {
  if (met.path !== path) return unpackRefused(path, `which differs from ${JSON.stringify(met.path)} only by case`);
  return unpackRefused(path, 'which is in it twice');
}

const depth = ({ path }: Entry) => path.split('/').length;

/** Folders above a path, from the root down. */
function foldersAbove(path: string): string[] {
  const parts = path.split('/');
  return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join('/'));
}

function isBelow(path: string, folder: string): boolean {
  return folder === '' || path.startsWith(`${folder}/`);
}

function forget(entries: Map<string, Entry>, gone: readonly Entry[]): Removed[] {
  for (const entry of gone) entries.delete(foldedKey(entry.path));
  return gone
    .toSorted((a, b) => depth(b) - depth(a))
    .flatMap((entry) => (entry.kind === 'symlink' ? [] : [{ path: entry.path, kind: entry.kind }]));
}

/** An empty set; what `replace` and `remove` do is told at `EntryTable`. */
export function createEntrySet(counter: EntryCounter): EntrySet {
  const entries = new Map<string, Entry>();
  let layer = 0;

  function put(path: string, kind: EntryKind, target: string): void {
    counter.add();
    entries.set(foldedKey(path), { path, kind, target, layer });
  }

  function ensureDirectory(path: string): void {
    const met = entries.get(foldedKey(path));
    if (met === undefined) return put(path, 'directory', '');
    if (met.path !== path) throw notOnce(path, met);
    if (met.kind !== 'directory') throw unpackRefused(path, `which is a folder here and a ${met.kind} before`);
    met.layer = layer;
  }

  function ensureParents(path: string): void {
    for (const folder of foldersAbove(path)) ensureDirectory(folder);
  }

  function earlier(path: string): Entry[] {
    const met = entries.get(foldedKey(path));
    return met !== undefined && met.path === path && met.layer < layer ? [met] : [];
  }

  function remove(path: string, childrenOnly: boolean): Removed[] {
    const isMeant = (entry: Entry) => isBelow(entry.path, path) || (!childrenOnly && entry.path === path);
    return forget(
      entries,
      [...entries.values()].filter((entry) => entry.layer < layer && isMeant(entry)),
    );
  }

  return {
    all: () => [...entries.values()],
    byKey: entries,
    addLeaf(path, kind, target) {
      ensureParents(path);
      const met = entries.get(foldedKey(path));
      if (met !== undefined) throw notOnce(path, met);
      put(path, kind, target);
    },
    addDirectory(path) {
      ensureParents(path);
      ensureDirectory(path);
    },
    nextLayer() {
      layer += 1;
    },
    replace(path, isDirectory) {
      const above = foldersAbove(path).flatMap(earlier);
      const files = forget(
        entries,
        above.filter(({ kind }) => kind !== 'directory'),
      );
      const [met] = earlier(path);
      if (met === undefined || (met.kind === 'directory' && isDirectory)) return files;
      return [...files, ...(met.kind === 'directory' ? remove(path, false) : forget(entries, [met]))];
    },
    remove,
  };
}
