import { statfs } from 'node:fs/promises';
import { transient } from '#core/domain/errors.ts';

/** Codes of a disk, or of a share of it, that takes no more. */
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT']);

export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && FULL.has(error.code);
}

/** The error to tell for one of a full disk: retried, since space may be made. `dir` lies on the disk. */
export async function diskFull(error: unknown, dir: string, what: string) {
  const free = await statfs(dir).then(
    ({ bavail, bsize }) => `, ${bavail * bsize} bytes are free`,
    () => '',
  );
  return transient(
    'DiskFull',
    `the disk of ${dir} is full${free}: ${what} could not be stored; make room, or give the worker a larger disk (PLUMBLINE_CACHE, PLUMBLINE_DATA)`,
    error,
  );
}
