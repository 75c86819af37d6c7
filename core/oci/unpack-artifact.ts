import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ReconcileError, stalled } from '#core/domain/errors.ts';
import type { ProgramLayer } from './artifact-layers.ts';
import type { PartLayer, Part } from './artifact-parts.ts';
import type { ProgramArtifact, Selection } from './artifact.ts';
import type { ArtifactLimits } from './limits.ts';
import type { Descriptor, Fetcher, Repository } from './port.ts';
import { pruneTree } from './prune.ts';
import { createMeter } from './unpack-meter.ts';
import { createUnpacker, type Unpacker } from './unpack.ts';

/** Names of the folders an artifact is unpacked into, beside each other. */
export const TREE = 'tree';
export const PART_FOLDERS: Readonly<Record<Part, string>> = {
  dependencies: 'node_modules',
  plugins: 'plugins',
  policy: 'policy',
};

export interface UnpackRequest {
  source: Fetcher;
  repository: Repository;
  artifact: ProgramArtifact;
  /** Those of the artifact that are unpacked too. */
  parts: readonly PartLayer[];
  selection: Selection;
  limits: ArtifactLimits;
  /** Names the artifact in messages. */
  what: string;
  signal: AbortSignal;
}

/** What unpacking came to. */
export interface Unpacked {
  compressedBytes: number;
  unpackedBytes: number;
  entries: number;
}

function assertSize(bytes: number, limit: number, what: string): void {
  if (bytes <= limit) return;
  throw stalled(
    'ArtifactTooLarge',
    `${what} has ${bytes} bytes of layers, more than the allowed ${limit}; leave files out with .sourceignore and push again, or raise PLUMBLINE_MAX_ARTIFACT_MB of the worker and spec.artifacts.maxArtifactMb of the tenant`,
  );
}

async function download(request: UnpackRequest, descriptor: Descriptor, file: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    for await (const chunk of await request.source.fetch(request.repository, descriptor, request.signal)) {
      await handle.writeFile(chunk);
    }
  } finally {
    await handle.close();
  }
}

/** Unpacking knows what is wrong with an archive, not whose it is. */
function named(error: unknown, what: string): unknown {
  if (!(error instanceof ReconcileError)) return error;
  const { kind, reason, message } = error;
  return new ReconcileError({ kind, reason, message: `${what}: ${message}`, cause: error });
}

async function addLayer(unpacker: Unpacker, layer: ProgramLayer, file: string, request: UnpackRequest): Promise<void> {
  const { signal, artifact, selection } = request;
  const bytes: AsyncIterable<Uint8Array> = createReadStream(file, { signal });
  if (layer.type === 'file') return unpacker.addFile(layer.path, bytes);
  const source = { ...layer, bytes, size: layer.descriptor.size };
  if (artifact.format !== 'image') return unpacker.addArchive(source, signal);
  return unpacker.addImageLayer(source, selection.imagePath ?? '/', signal);
}

/** An image without the folder gives an empty tree, which would only be found out much later. */
async function assertImageFolder(tree: string, { artifact, selection }: UnpackRequest): Promise<void> {
  if (artifact.format !== 'image' || (await readdir(tree)).length > 0) return;
  throw stalled(
    'ArtifactInvalid',
    `the image has nothing in the folder ${selection.imagePath}; correct spec.source.imagePath (a link is not followed)`,
  );
}

interface Folder {
  name: string;
  layers: readonly ProgramLayer[];
}

/**
 * Unpacks the program into `tree` of `scratch`, a fresh folder of ours, and each part into a folder beside it. All layers
 * are on disk and checked against their digests before the first is opened; whoever calls deletes `scratch` after an error.
 * @throws ReconcileError of the source; stalled DigestMismatch | ArtifactInvalid | ArtifactTooLarge | UnpackRefused | SpecInvalid
 */
export async function unpackArtifact(request: UnpackRequest, scratch: string): Promise<Unpacked> {
  const { artifact, parts, limits, what, signal, selection } = request;
  const folders: Folder[] = [
    { name: TREE, layers: artifact.layers },
    ...parts.map(({ part, layer }) => ({ name: PART_FOLDERS[part], layers: [layer] })),
  ];
  const layers = folders.flatMap((folder) => folder.layers);
  const compressedBytes = layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  assertSize(compressedBytes, limits.maxCompressedBytes, what);
  const fileOf = (layer: ProgramLayer) => join(scratch, `layer-${layers.indexOf(layer)}`);
  for (const layer of layers) await download(request, layer.descriptor, fileOf(layer));
  const meter = createMeter(limits);
  let unpackedBytes = 0;
  try {
    for (const folder of folders) {
      const dir = join(scratch, folder.name);
      await mkdir(dir, { mode: 0o700 });
      const unpacker = createUnpacker(dir, limits, meter);
      for (const layer of folder.layers) {
        await addLayer(unpacker, layer, fileOf(layer), request);
        await rm(fileOf(layer));
      }
      unpackedBytes += (await unpacker.finish()).unpackedBytes;
    }
    await assertImageFolder(join(scratch, TREE), request);
    await pruneTree(join(scratch, TREE), selection.ignore, signal);
  } catch (error) {
    throw named(error, what);
  }
  return { compressedBytes, unpackedBytes, entries: meter.entries.total() };
}
