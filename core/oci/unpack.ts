import { constants } from 'node:fs';
import { mkdir, open, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { checked } from './digest.ts';
import { createEntryTable, unpackRefused } from './entry-table.ts';
import type { ArtifactLimits } from './limits.ts';
import { readTar, type ArchiveSource, type TarEntry } from './tar-reader.ts';

/** Below this the ratio of unpacked to stored bytes says nothing. */
const RATIO_FLOOR = 16 * 1024 * 1024;
const FOLDER_MODE = 0o755;
const FILE_MODE = 0o644;
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Names with a meaning in image layers (image-spec layer.md, "Whiteouts") that unpacking as they are would betray. */
const WHITEOUT = /(^|\/)\.wh\./;

/** Fills one folder from the layers of an artifact; limits and names count over all of them. */
export interface Unpacker {
  addArchive(source: ArchiveSource, signal: AbortSignal): Promise<void>;
  addFile(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** Makes the links, last of all, so that nothing is ever written through one. */
  finish(): Promise<{ unpackedBytes: number }>;
}

function tooLarge(what: string, limit: number, next: string) {
  return stalled('ArtifactTooLarge', `${what} more than the allowed ${limit} bytes; ${next}`);
}

const fileTooLarge = (path: string, limit: number) =>
  tooLarge(`${path} has`, limit, 'leave it out with .sourceignore and push again');

/** Counts unpacked bytes over all layers and stops at the limits. */
function createMeter(limits: ArtifactLimits) {
  let total = 0;
  return {
    total: () => total,
    async *measure(bytes: AsyncIterable<Uint8Array>, storedBytes: number): AsyncGenerator<Uint8Array, void> {
      const before = total;
      for await (const chunk of bytes) {
        total += chunk.byteLength;
        if (total > limits.maxUnpackedBytes) {
          const next =
            'leave files out with .sourceignore and push again, or raise PLUMBLINE_MAX_UNPACKED_MB of the worker';
          throw tooLarge('the unpacked artifact has', limits.maxUnpackedBytes, next);
        }
        const fresh = total - before;
        if (fresh > RATIO_FLOOR && fresh > storedBytes * limits.maxRatio) {
          const why = `unpacks to more than ${limits.maxRatio} times its size, as a bomb does; leave out what is empty space and push again`;
          throw stalled('ArtifactTooLarge', `the archive ${why}`);
        }
        yield chunk;
      }
    },
  };
}

/** Writes below `dir`; paths are checked by the entry table before they come here. */
function createWriter(dir: string, limits: ArtifactLimits) {
  const made = new Set<string>(['.']);

  async function folder(path: string): Promise<void> {
    if (made.has(path)) return;
    await folder(dirname(path));
    await mkdir(join(dir, path), { mode: FOLDER_MODE });
    made.add(path);
  }

  async function file(path: string, bytes: AsyncIterable<unknown>, mode: number): Promise<void> {
    await folder(dirname(path));
    const handle = await open(join(dir, path), NEW_FILE, 0o600);
    try {
      let size = 0;
      for await (const chunk of bytes) {
        if (!(chunk instanceof Uint8Array)) throw new TypeError('an archive entry yielded something that is no bytes');
        size += chunk.byteLength;
        if (size > limits.maxFileBytes) throw fileTooLarge(path, limits.maxFileBytes);
        await handle.writeFile(chunk);
      }
      await handle.chmod((mode & 0o755) | 0o600);
    } finally {
      await handle.close();
    }
  }

  async function link(path: string, target: string): Promise<void> {
    await folder(dirname(path));
    await symlink(target, join(dir, path));
  }

  return { folder, file, link };
}

/**
 * Unpacks into `dir`, which must be fresh, ours alone and mode 0700. Files, folders and links that stay inside; modes
 * are cut to 0755, owners and times dropped. Whoever calls deletes `dir` after an error.
 * @throws ReconcileError stalled UnpackRefused | ArtifactTooLarge | ArtifactInvalid | DigestMismatch
 */
export function createUnpacker(dir: string, limits: ArtifactLimits): Unpacker {
  const table = createEntryTable(limits);
  const meter = createMeter(limits);
  const writer = createWriter(dir, limits);

  async function addEntry(entry: TarEntry): Promise<void> {
    const { name, type, mode, linkname, size } = entry.header;
    if (WHITEOUT.test(name)) throw unpackRefused(name, 'a deletion mark of an image layer');
    switch (type) {
      case 'file':
      case 'contiguous-file':
        if (size > limits.maxFileBytes) throw fileTooLarge(name, limits.maxFileBytes);
        return writer.file(table.addFile(name), entry, mode);
      case 'directory': {
        const path = table.addDirectory(name);
        return path === undefined ? undefined : writer.folder(path);
      }
      case 'symlink':
        // Its body would never be read, and the archive would wait for that for ever.
        if (size > 0) throw unpackRefused(name, 'a link with a content');
        table.addSymlink(name, linkname ?? '');
        return undefined;
      default:
        throw unpackRefused(name, `a ${type ?? 'thing of an unknown kind'} and neither file, folder nor symbolic link`);
    }
  }

  return {
    async addArchive(source, signal) {
      const { unpackedDigest: digest } = source;
      function tap(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
        const measured = meter.measure(bytes, source.size);
        return digest === undefined ? measured : checked(measured, { digest, what: 'the unpacked layer' });
      }
      await readTar(source, tap, addEntry, signal);
    },
    async addFile(name, bytes) {
      await writer.file(table.addFile(name), meter.measure(bytes, Number.POSITIVE_INFINITY), FILE_MODE);
    },
    async finish() {
      for (const { path, target } of table.links()) await writer.link(path, target);
      return { unpackedBytes: meter.total() };
    },
  };
}
