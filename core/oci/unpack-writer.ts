import { constants } from 'node:fs';
import { mkdir, open, rmdir, symlink, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Removed } from './entry-set.ts';
import type { ArtifactLimits } from './limits.ts';
import { fileTooLarge } from './unpack-meter.ts';

const FOLDER_MODE = 0o755;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** A file up to this size is written while the next one is read. */
const SMALL_BYTES = 256 * 1024;
const MAX_UNDER_WAY = 8;

/** Writes below one folder. Paths come from the entry table, and nobody else writes there. */
export interface UnpackWriter {
  folder(path: string): Promise<void>;
  /** Cuts the mode to 0755, readable and writable by us. Small files may still be under way when it returns. */
  file(path: string, bytes: AsyncIterable<unknown>, mode: number): Promise<void>;
  link(path: string, target: string): Promise<void>;
  remove(removed: readonly Removed[]): Promise<void>;
  /** Waits for what is under way, and throws what went wrong with it. Nothing is written any more when it has settled. */
  settle(): Promise<void>;
  /** Bytes of all files written, those removed later among them. */
  writtenBytes(): number;
}

/** Lets a few promises run at once and keeps the first failure. */
function createCrew() {
  const underWay = new Set<Promise<void>>();
  let failed: { error: unknown } | undefined;

  function assertWell(): void {
    if (failed !== undefined) throw failed.error;
  }

  return {
    async add(work: Promise<void>): Promise<void> {
      const watched: Promise<void> = work.then(
        () => void underWay.delete(watched),
        (error: unknown) => {
          underWay.delete(watched);
          failed ??= { error };
        },
      );
      underWay.add(watched);
      if (underWay.size >= MAX_UNDER_WAY) await Promise.race(underWay);
      assertWell();
    },
    async settle(): Promise<void> {
      await Promise.all(underWay);
      assertWell();
    },
  };
}

/** Creates a file, which must be new, with what `bytes` yields. The mode is one that the umask may only lessen. */
async function writeNew(at: string, mode: number, bytes: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
  const handle = await open(at, NEW_FILE, (mode & 0o755) | 0o600);
  try {
    for await (const chunk of bytes) await handle.writeFile(chunk);
  } finally {
    await handle.close();
  }
}

/** @throws from `file` ReconcileError stalled ArtifactTooLarge; errors of the disk as they come */
export function createWriter(dir: string, limits: ArtifactLimits): UnpackWriter {
  const made = new Set<string>(['.']);
  const crew = createCrew();
  let written = 0;

  async function folder(path: string): Promise<void> {
    if (made.has(path)) return;
    await folder(dirname(path));
    await mkdir(join(dir, path), { mode: FOLDER_MODE });
    made.add(path);
  }

  async function* sized(path: string, bytes: AsyncIterable<unknown>): AsyncGenerator<Uint8Array, void> {
    let size = 0;
    for await (const chunk of bytes) {
      if (!(chunk instanceof Uint8Array)) throw new TypeError('an archive entry yielded something that is no bytes');
      size += chunk.byteLength;
      if (size > limits.maxFileBytes) throw fileTooLarge(path, limits.maxFileBytes);
      written += chunk.byteLength;
      yield chunk;
    }
  }

  return {
    folder,
    async file(path, bytes, mode) {
      await folder(dirname(path));
      const at = join(dir, path);
      const rest = sized(path, bytes);
      const first: Uint8Array[] = [];
      let size = 0;
      for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
        first.push(next.value);
        size += next.value.byteLength;
        if (size <= SMALL_BYTES) continue;
        return await writeNew(
          at,
          mode,
          (async function* () {
            yield* first.splice(0);
            yield* rest;
          })(),
        );
      }
      await crew.add(writeNew(at, mode, [Buffer.concat(first, size)]));
    },
    async link(path, target) {
      await folder(dirname(path));
      await symlink(target, join(dir, path));
    },
    async remove(removed) {
      if (removed.length > 0) await crew.settle();
      for (const { path, kind } of removed) {
        // The table knows a folder from its contents' names, the disk only once something was put there.
        if (kind === 'directory' && !made.delete(path)) continue;
        await (kind === 'directory' ? rmdir : unlink)(join(dir, path));
      }
    },
    settle: () => crew.settle(),
    writtenBytes: () => written,
  };
}
