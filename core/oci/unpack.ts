import { unreachable } from '#core/domain/errors.ts';
import { checked } from './digest.ts';
import { splitName, unpackRefused } from './entry-name.ts';
import { createEntryTable, type EntryTable } from './entry-table.ts';
import { imageFolder, readImageEntry } from './image-entry.ts';
import type { ArtifactLimits } from './limits.ts';
import { readTar, type ArchiveSource, type TarEntry } from './tar-reader.ts';
import { createMeter, fileTooLarge, type UnpackMeter } from './unpack-meter.ts';
import { createWriter, type UnpackWriter } from './unpack-writer.ts';

const FILE_MODE = 0o644;
/** Names with a meaning in image layers (image-spec layer.md, "Whiteouts") that unpacking as they are would betray. */
const WHITEOUT = /(^|\/)\.wh\./;
/** Each looks at every entry there is. */
const MAX_REMOVALS = 2_000;

/** Fills one folder from the layers of an artifact; limits and names count over all of them. */
export interface Unpacker {
  addArchive(source: ArchiveSource, signal: AbortSignal): Promise<void>;
  /** One more layer of a container image over those before; only what is below `imagePath` is kept. */
  addImageLayer(source: ArchiveSource, imagePath: string, signal: AbortSignal): Promise<void>;
  addFile(path: string, bytes: AsyncIterable<Uint8Array>): Promise<void>;
  /** Makes the links, last of all, so that nothing is ever written through one. */
  finish(): Promise<{ unpackedBytes: number }>;
}

async function drain(entry: TarEntry): Promise<void> {
  for await (const chunk of entry) void chunk;
}

/** @throws ReconcileError stalled UnpackRefused for an entry that names something outside of the layer's own folder */
function assertBelow(name: string, prefix: string): void {
  const wanted = imageFolder(prefix);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (wanted.every((part, at) => part === parts[at])) return;
  throw unpackRefused(name, `which lies outside of ${JSON.stringify(prefix)}, the folder its layer says it is`);
}

/** A body that nobody reads, readers skip or take for headers, as they like. */
function assertNoBody({ header: { name, type, size } }: TarEntry): void {
  const isFile = type === 'file' || type === 'contiguous-file';
  if (size > 0 && !isFile) throw unpackRefused(name, `a ${type === 'symlink' ? 'link' : 'thing'} with a content`);
}

interface Target {
  table: EntryTable;
  writer: UnpackWriter;
  meter: UnpackMeter;
  limits: ArtifactLimits;
}

async function addEntry({ table, writer, limits }: Target, name: string, entry: TarEntry): Promise<void> {
  const { type, mode, linkname, size } = entry.header;
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
      table.addSymlink(name, linkname ?? '');
      return undefined;
    default:
      throw unpackRefused(name, `a ${type ?? 'thing of an unknown kind'} and neither file, folder nor symbolic link`);
  }
}

/** Adds entries of one layer of an image after the other, over what earlier layers have. */
function createImageAdder(target: Target) {
  const { table, writer, meter, limits } = target;
  let removals = 0;
  return async (entry: TarEntry, base: readonly string[]): Promise<void> => {
    const { name, type } = entry.header;
    const found = readImageEntry(name, base);
    switch (found.type) {
      case 'inside': {
        const path = splitName(found.path, limits).join('/');
        await writer.remove(table.replace(path, type === 'directory'));
        return addEntry(target, path, entry);
      }
      case 'removes':
        removals += 1;
        if (removals > MAX_REMOVALS) throw unpackRefused(name, `one of more than ${MAX_REMOVALS} deletion marks`);
        await writer.remove(table.remove(found.path, found.childrenOnly));
        return drain(entry);
      case 'above':
        if (type !== 'directory') await writer.remove(table.remove('', true));
        meter.entries.add();
        return drain(entry);
      case 'outside':
        meter.entries.add();
        return drain(entry);
      default:
        return unreachable(found);
    }
  };
}

/**
 * Unpacks into `dir`, which must be fresh, ours alone and mode 0700. Files, folders and links that stay inside; modes
 * are cut to 0755, owners and times dropped. Whoever calls deletes `dir` after an error. Folders of one artifact share a
 * `meter`.
 * @throws ReconcileError stalled UnpackRefused | ArtifactTooLarge | ArtifactInvalid | DigestMismatch
 */
export function createUnpacker(dir: string, limits: ArtifactLimits, meter = createMeter(limits)): Unpacker {
  const table = createEntryTable(limits, meter.entries);
  const writer = createWriter(dir, limits);
  const target = { table, writer, meter, limits };
  const addToImage = createImageAdder(target);

  async function read(source: ArchiveSource, add: (entry: TarEntry) => Promise<void>, signal: AbortSignal) {
    const { unpackedDigest: digest } = source;
    function tap(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
      const measured = meter.measure(bytes, source.size);
      return digest === undefined ? measured : checked(measured, { digest, what: 'the unpacked layer' });
    }
    // Whoever deletes the folder after an error must find nobody writing into it.
    await readTar(source, tap, add, signal).finally(() => writer.settle());
  }

  return {
    async addArchive(source, signal) {
      const add = async (entry: TarEntry) => {
        const { name } = entry.header;
        if (WHITEOUT.test(name)) throw unpackRefused(name, 'a deletion mark of an image layer');
        if (source.prefix !== undefined) assertBelow(name, source.prefix);
        assertNoBody(entry);
        await addEntry(target, name, entry);
      };
      await read(source, add, signal);
    },
    async addImageLayer(source, imagePath, signal) {
      table.nextLayer();
      const base = imageFolder(imagePath);
      const add = async (entry: TarEntry) => {
        // Elsewhere in the image may be what it likes: it is passed over, and never written.
        if (readImageEntry(entry.header.name, base).type === 'inside') assertNoBody(entry);
        await addToImage(entry, base);
      };
      await read(source, add, signal);
    },
    async addFile(name, bytes) {
      await writer.file(table.addFile(name), meter.measure(bytes, Number.POSITIVE_INFINITY), FILE_MODE);
      await writer.settle();
    },
    async finish() {
      for (const { path, target: to } of table.links()) await writer.link(path, to);
      return { unpackedBytes: writer.writtenBytes() };
    },
  };
}
