import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress, type Gunzip, type ZstdDecompress } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { ReconcileError, stalled, unreachable } from '#core/domain/errors.ts';
import type { Compression } from './artifact-layers.ts';
import { createTarGuard } from './tar-guard.ts';

/** Of what is unpacked at a time: fewer, larger writes. */
const CHUNK_BYTES = 256 * 1024;

/** An entry as tar-stream hands it out; null where the entry has no such thing, whatever its types say. */
export interface TarEntry extends AsyncIterable<unknown> {
  header: Omit<Header, 'type' | 'linkname'> & { type: Header['type'] | null; linkname: string | null };
}

/** Bytes of an archive, already checked against its digest. */
export interface ArchiveSource {
  bytes: AsyncIterable<Uint8Array>;
  /** Bytes as stored, for the ratio. */
  size: number;
  compression: Compression;
  /** Digest of the tar itself, where the artifact states one. */
  unpackedDigest?: string;
  /** Folder that every entry must lie in, where the artifact states one. */
  prefix?: string;
}

function decompressor(compression: Compression): Gunzip | ZstdDecompress | undefined {
  switch (compression) {
    case 'none':
      return undefined;
    case 'gzip':
      return createGunzip({ chunkSize: CHUNK_BYTES });
    case 'zstd':
      return createZstdDecompress({ chunkSize: CHUNK_BYTES });
    default:
      return unreachable(compression);
  }
}

/** What a decompressor leaves unread behind its end, it would pass over without a word. */
async function* counted(bytes: AsyncIterable<Uint8Array>, counter: { bytes: number }) {
  for await (const chunk of bytes) {
    counter.bytes += chunk.byteLength;
    yield chunk;
  }
}

/**
 * Feeds a tar to `addEntry`, entry by entry; the first error of either side ends both and is the one thrown.
 * @throws ReconcileError stalled ArtifactInvalid for what is no tar, or one with data behind its end
 */
export async function readTar(
  source: ArchiveSource,
  tap: (bytes: AsyncIterable<Uint8Array>) => AsyncGenerator<Uint8Array, void>,
  addEntry: (entry: TarEntry) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const extractor = extract();
  const inflater = decompressor(source.compression);
  const guard = createTarGuard();
  const given = { bytes: 0 };
  const input = Readable.from(counted(source.bytes, given));
  const guarded = (bytes: AsyncIterable<Uint8Array>) => guard.pass(tap(bytes));
  const feeding =
    inflater === undefined
      ? pipeline(input, guarded, extractor, { signal })
      : pipeline(input, inflater, guarded, extractor, { signal });
  // Kept from being unhandled while the entries are read; it is awaited below.
  const fed = Promise.allSettled([feeding]);
  try {
    for await (const entry of extractor) {
      if (entry.header.size !== guard.nextSize()) throw new Error('an entry has two sizes');
      await addEntry(entry);
    }
    await feeding;
    if (inflater !== undefined && inflater.bytesWritten !== given.bytes) throw new Error('data behind its end');
  } catch (error) {
    extractor.destroy();
    const [outcome] = await fed;
    throw signal.aborted ? signal.reason : refusalOf(error, outcome, source.compression);
  }
}

/** The error worth telling: of our own rules first, then of the disk, else the archive cannot be read. */
function refusalOf(error: unknown, feeding: PromiseSettledResult<void>, compression: Compression): Error {
  const met = feeding.status === 'rejected' ? [error, feeding.reason] : [error];
  const ours = met.find((each) => each instanceof ReconcileError);
  if (ours instanceof ReconcileError) return ours;
  if (error instanceof Error && 'syscall' in error) return error;
  const why = met.map((each) => (each instanceof Error ? each.message : String(each))).join(', ');
  return stalled(
    'ArtifactInvalid',
    `a layer is no readable tar archive (compression ${compression}): ${why}; pack and push it again, with the media type of what it is`,
    error,
  );
}
