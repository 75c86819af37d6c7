import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack, type Pack } from 'tar-stream';
import { stalled } from '#core/domain/errors.ts';
import { createEntryTable } from './entry-table.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import type { PackedFile } from './pack-files.ts';
import type { Content } from './port.ts';

/** What becomes one layer. */
export interface LayerSource {
  dir: string;
  files: readonly PackedFile[];
  mediaType: string;
  annotations: Record<string, string>;
  /** 1 to 9; higher is smaller and slower. */
  level: number;
}

/** Epoch: a time would make every package of the same files another one. */
const EPOCH = new Date(0);
const GZIP_OS_BYTE = 9;
/** "unknown" (RFC 1952), since zlib writes the system it was built on. */
const GZIP_OS_UNKNOWN = 255;
/** Above this a file is streamed: below, that costs more than it saves. */
const WHOLE_BYTES = 1024 * 1024;

type Header = Parameters<Pack['entry']>[0];

/** Adds an entry and waits for its end; `fill` is its content, or the path of the file that has it. */
async function addEntry(archive: Pack, header: Header, fill: Buffer | string | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const done = (error?: Error | null) => (error ? reject(error) : resolve());
  if (typeof fill === 'string') {
    // tar-stream refuses a file that grew or shrank while it was read.
    const sink = archive.entry(header, done);
    await Promise.all([promise, pipeline(createReadStream(fill), sink)]);
    return;
  }
  if (fill === undefined) archive.entry(header, done);
  else archive.entry(header, fill, done);
  await promise;
}

async function addFile(archive: Pack, dir: string, file: PackedFile): Promise<void> {
  const { path: name, type, size } = file;
  const common = { name, type, uid: 0, gid: 0, mtime: EPOCH };
  const at = join(dir, name);
  if (type === 'symlink') return addEntry(archive, { ...common, mode: 0o777, linkname: await readlink(at) }, undefined);
  const header = { ...common, size, mode: file.executable ? 0o755 : 0o644 };
  await addEntry(archive, header, size > WHOLE_BYTES ? at : await readFile(at));
}

async function fillArchive(archive: Pack, { dir, files }: LayerSource): Promise<void> {
  try {
    for (const file of files) await addFile(archive, dir, file);
    archive.finalize();
  } catch (error) {
    archive.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

/**
 * Holds a folder to the rules of unpacking: names that are the same on some disks, links that lead out of it.
 * @throws ReconcileError stalled UnpackRefused | ArtifactTooLarge
 */
export async function assertUnpackable({ dir, files }: Pick<LayerSource, 'dir' | 'files'>): Promise<void> {
  const table = createEntryTable(DEFAULT_LIMITS);
  for (const file of files) {
    if (file.type === 'symlink') table.addSymlink(file.path, await readlink(join(dir, file.path)));
    else table.addFile(file.path);
  }
  table.links();
}

/** Makes the header of a gzip the same on every system. */
function withoutSystem(chunk: Buffer, offset: number): Buffer {
  const at = GZIP_OS_BYTE - offset;
  if (at >= 0 && at < chunk.byteLength) chunk[at] = GZIP_OS_UNKNOWN;
  return chunk;
}

/**
 * Packs files into `target`, a new file: no times, owners or stray modes, a gzip header without system or time. Nothing is
 * ever held whole in memory.
 * @throws ReconcileError stalled UnpackRefused | ArtifactTooLarge
 */
export async function packLayer(source: LayerSource, target: string, signal: AbortSignal): Promise<Content> {
  // So that no worker refuses later what was pushed.
  await assertUnpackable(source);
  const archive = pack();
  const hash = createHash('sha256');
  const limit = DEFAULT_LIMITS.maxCompressedBytes;
  const handle = await open(target, 'wx', 0o600);
  let size = 0;
  async function store(gzipped: AsyncIterable<Buffer>): Promise<void> {
    for await (const raw of gzipped) {
      const chunk = withoutSystem(raw, size);
      size += chunk.byteLength;
      if (size > limit) {
        throw stalled(
          'ArtifactTooLarge',
          `${source.dir} packs to more than ${limit} bytes; leave files out with .sourceignore`,
        );
      }
      hash.update(chunk);
      await handle.writeFile(chunk);
    }
  }
  try {
    const collecting = pipeline(archive, createGzip({ level: source.level }), store, { signal });
    const [filled, collected] = await Promise.allSettled([fillArchive(archive, source), collecting]);
    // Whichever broke first ends the other; what was refused is worth more than that.
    if (collected.status === 'rejected') throw collected.reason;
    if (filled.status === 'rejected') throw filled.reason;
  } finally {
    await handle.close();
  }
  const { mediaType, annotations } = source;
  const digest = `sha256:${hash.digest('hex')}`;
  return { descriptor: { mediaType, digest, size, annotations }, open: () => createReadStream(target) };
}
