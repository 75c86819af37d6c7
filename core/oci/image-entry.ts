import { unpackRefused } from './entry-name.ts';

/** What an entry of an image's layer means for the one folder that is kept (image-spec layer.md, "Whiteouts"). */
export type ImageEntry =
  /** Lies in the folder; `path` is relative to it. */
  | { type: 'inside'; path: string }
  /** Is the folder, or one above it. */
  | { type: 'above' }
  /** Lies elsewhere. */
  | { type: 'outside' }
  /** Takes away what earlier layers have: `path` and all below it, or only what is below. The empty path is the folder. */
  | { type: 'removes'; path: string; childrenOnly: boolean };

const WHITEOUT = '.wh.';
const OPAQUE = '.wh..wh..opq';
/** Other marks of AUFS, which say nothing about files. */
const RESERVED = '.wh..wh.';

const isPrefix = (short: readonly string[], long: readonly string[]) => short.every((part, at) => part === long[at]);

function removal(target: readonly string[], base: readonly string[], childrenOnly: boolean): ImageEntry {
  if (target.length <= base.length) {
    return isPrefix(target, base) ? { type: 'removes', path: '', childrenOnly: true } : { type: 'outside' };
  }
  if (!isPrefix(base, target)) return { type: 'outside' };
  return { type: 'removes', path: target.slice(base.length).join('/'), childrenOnly };
}

/**
 * Reads the name of an entry; `base` are the parts of the folder.
 * @throws ReconcileError stalled UnpackRefused for a name that goes up
 */
export function readImageEntry(name: string, base: readonly string[]): ImageEntry {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw unpackRefused(name, 'which leads out of the image');
  const folder = parts.slice(0, -1);
  const last = parts.at(-1) ?? '';
  if (last === OPAQUE) return removal(folder, base, true);
  if (last.startsWith(RESERVED)) return { type: 'outside' };
  if (last.startsWith(WHITEOUT)) {
    if (last === WHITEOUT) throw unpackRefused(name, 'a deletion mark that names nothing');
    return removal([...folder, last.slice(WHITEOUT.length)], base, false);
  }
  if (parts.length <= base.length) return { type: isPrefix(parts, base) ? 'above' : 'outside' };
  return isPrefix(base, parts) ? { type: 'inside', path: parts.slice(base.length).join('/') } : { type: 'outside' };
}

/** `/opt/program` as parts; the empty list is the root of the image. */
export function imageFolder(imagePath: string): string[] {
  return imagePath.split('/').filter((part) => part !== '' && part !== '.');
}
