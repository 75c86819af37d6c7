import { constants } from 'node:fs';
import { mkdir, open, rmdir, symlink, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Removed } from './entry-set.ts';
import type { ArtifactLimits } from './limits.ts';
import { fileTooLarge } from './unpack-meter.ts';

const FOLDER_MODE = 0o755;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** Writes below one folder. Paths come from the entry table, and nobody else writes there. */
export interface UnpackWriter {
  folder(path: string): Promise<void>;
  /** Cuts the mode to 0755, readable and writable by us. */
  file(path: string, bytes: AsyncIterable<unknown>, mode: number): Promise<void>;
  link(path: string, target: string): Promise<void>;
  remove(removed: readonly Removed[]): Promise<void>;
  /** Bytes of all files written, those removed later among them. */
  writtenBytes(): number;
}

/** @throws from `file` ReconcileError stalled ArtifactTooLarge; errors of the disk as they come */
export function createWriter(dir: string, limits: ArtifactLimits): UnpackWriter {
  const made = new Set<string>(['.']);
  let written = 0;

  async function folder(path: string): Promise<void> {
    if (made.has(path)) return;
    await folder(dirname(path));
    await mkdir(join(dir, path), { mode: FOLDER_MODE });
    made.add(path);
  }

  return {
    folder,
    async file(path, bytes, mode) {
      await folder(dirname(path));
      const handle = await open(join(dir, path), NEW_FILE, 0o600);
      try {
        let size = 0;
        for await (const chunk of bytes) {
          if (!(chunk instanceof Uint8Array))
            throw new TypeError('an archive entry yielded something that is no bytes');
          size += chunk.byteLength;
          if (size > limits.maxFileBytes) throw fileTooLarge(path, limits.maxFileBytes);
          await handle.writeFile(chunk);
        }
        written += size;
        await handle.chmod((mode & 0o755) | 0o600);
      } finally {
        await handle.close();
      }
    },
    async link(path, target) {
      await folder(dirname(path));
      await symlink(target, join(dir, path));
    },
    async remove(removed) {
      for (const { path, kind } of removed) {
        // The table knows a folder from its contents' names, the disk only once something was put there.
        if (kind === 'directory' && !made.delete(path)) continue;
        await (kind === 'directory' ? rmdir : unlink)(join(dir, path));
      }
    },
    writtenBytes: () => written,
  };
}
