import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import type { ArtifactLimits } from './limits.ts';

const MAX_NAME_BYTES = 255;

/** Why an entry is never unpacked, as a ReconcileError that stalls. */
export function unpackRefused(name: string, why: string): ReconcileError {
  const shown = JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
  return stalled(
    'UnpackRefused',
    `the archive holds ${shown}, ${why}; nothing of it was used. Take it out and push again`,
  );
}

/** Two names that one file system or another takes for the same. */
export function foldedKey(path: string): string {
  return path.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC');
}

/**
 * The parts of an entry's name, `.` and empty ones dropped.
 * @throws ReconcileError stalled UnpackRefused for a path that leads out or is too long, deep or odd
 */
export function splitName(name: string, limits: ArtifactLimits): string[] {
  if (name === '') throw unpackRefused(name, 'which has no name');
  if (name.startsWith('/')) throw unpackRefused(name, 'which is an absolute path');
  if (name.includes('\\')) throw unpackRefused(name, 'which has a backslash in its name');
  // U+FFFD stands for bytes that are no UTF-8; a lone surrogate cannot be written as UTF-8 at all.
  if (/[\p{Cc}\p{Cs}\uFFFD]/u.test(name))
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
