import { randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { ReconcileError, stalled } from '#core/domain/errors.ts';
import { isDigest, type Repository } from '#core/domain/reference.ts';
import { readArtifact, type Artifact, type ProgramLayer } from './artifact.ts';
import { evict } from './cache-eviction.ts';
import { field, parseJson } from './body.ts';
import { readManifest } from './content.ts';
import { DEFAULT_LIMITS, type ArtifactLimits } from './limits.ts';
import type { Descriptor, Fetcher, Resolver } from './port.ts';
import { createUnpacker } from './unpack.ts';

export interface StoreOptions {
  /** Folder of the cache, made when missing; nothing else may live in it. */
  dir: string;
  limits?: Partial<ArtifactLimits>;
  /** Unpacked bytes the cache may hold before the least recently used go. */
  maxBytes?: number;
  /** Milliseconds during which an entry counts as in use after it was last asked for. */
  minIdleMs?: number;
}

export interface FetchRequest {
  tenant: string;
  client: Resolver & Fetcher;
  repository: Repository;
  /** Of the manifest or index; what is returned holds exactly what it stands for. */
  digest: string;
  signal: AbortSignal;
}

export interface FetchedArtifact {
  /** Root of the unpacked tree. Shared: read it or copy it, never write to it, and be done within `minIdleMs`. */
  dir: string;
  /** Of the manifest (source, revision, …); an index's own come first. */
  annotations: Record<string, string>;
  cached: boolean;
}

/** Unpacked artifacts by tenant and digest. */
export interface ArtifactStore {
  /**
   * The unpacked tree of an artifact, from the cache or the registry. Nothing is unpacked before its digest has held,
   * and nothing is seen half-way: many workers may ask for the same at once.
   * @throws ReconcileError Source… | DigestMismatch | ArtifactInvalid | ArtifactTooLarge | UnpackRefused
   */
  fetchArtifact(request: FetchRequest): Promise<FetchedArtifact>;
}

const GIB = 1024 ** 3;
const DEFAULT_MAX_BYTES = 5 * GIB;
const DEFAULT_MIN_IDLE_MS = 3_600_000;
/** Written into an entry beside its tree: what the tree is and what it weighs. */
const RECORD = 'artifact.json';
const TREE = 'tree';

function segment(name: string): string {
  if (/^[a-z0-9][a-z0-9-]*$/.test(name)) return name;
  throw stalled('SpecInvalid', `${JSON.stringify(name)} cannot be the name of a tenant's folder`);
}

async function readEntry(entry: string): Promise<FetchedArtifact | undefined> {
  try {
    const now = new Date();
    await utimes(entry, now, now);
    const record = parseJson(await readFile(join(entry, RECORD)));
    const found = field(record, 'annotations');
    const pairs = Object.entries(typeof found === 'object' && found !== null ? found : {});
    const annotations = Object.fromEntries(
      pairs.filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
    );
    return { dir: join(entry, TREE), annotations, cached: true };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The manifest of a program, through an index where there is one. */
async function readProgram(request: FetchRequest): Promise<Extract<Artifact, { type: 'program' }>> {
  const { client, repository, digest, signal } = request;
  const what = `${repository.host}/${repository.name}@${digest}`;
  const first = readArtifact(await readManifest(client, repository, digest, signal), what);
  if (first.type === 'program') return first;
  const inner = `${repository.host}/${repository.name}@${first.descriptor.digest}`;
  const second = readArtifact(await readManifest(client, repository, first.descriptor, signal), inner);
  if (second.type === 'index')
    throw stalled('ArtifactInvalid', `${what} is an index of an index; push a single program`);
  return { ...second, annotations: { ...first.annotations, ...second.annotations } };
}

function assertSize(layers: readonly ProgramLayer[], limit: number, what: string): void {
  const size = layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  if (size > limit) {
    throw stalled(
      'ArtifactTooLarge',
      `${what} has ${size} bytes of layers, more than the allowed ${limit}; leave files out with .sourceignore and push again, or raise PLUMBLINE_MAX_ARTIFACT_MB of the worker`,
    );
  }
}

async function download(request: FetchRequest, descriptor: Descriptor, file: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    for await (const chunk of await request.client.fetch(request.repository, descriptor, request.signal)) {
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

/** Unpacks layers into `tree`, one after the other, each deleted once it is done. @returns the bytes of the tree. */
async function unpack(
  layers: readonly ProgramLayer[],
  layerFile: (index: number) => string,
  tree: string,
  limits: ArtifactLimits,
  signal: AbortSignal,
) {
  const unpacker = createUnpacker(tree, limits);
  for (const [index, layer] of layers.entries()) {
    const bytes: AsyncIterable<Uint8Array> = createReadStream(layerFile(index), { signal });
    if (layer.type === 'file') await unpacker.addFile(layer.path, bytes);
    else await unpacker.addArchive({ ...layer, bytes, size: layer.descriptor.size }, signal);
    await rm(layerFile(index));
  }
  return (await unpacker.finish()).unpackedBytes;
}

/** Builds a complete entry in `scratch`; layers are on disk and checked before the first is opened. */
async function build(request: FetchRequest, scratch: string, limits: ArtifactLimits): Promise<Record<string, string>> {
  const program = await readProgram(request);
  const what = `${request.repository.host}/${request.repository.name}@${request.digest}`;
  assertSize(program.layers, limits.maxCompressedBytes, what);
  const tree = join(scratch, TREE);
  await mkdir(tree, { mode: 0o700 });
  const layerFile = (index: number) => join(scratch, `layer-${index}`);
  for (const [index, layer] of program.layers.entries()) await download(request, layer.descriptor, layerFile(index));
  const unpackedBytes = await unpack(program.layers, layerFile, tree, limits, request.signal).catch(
    (error: unknown) => {
      throw named(error, what);
    },
  );
  const { annotations, format } = program;
  await writeFile(
    join(scratch, RECORD),
    JSON.stringify({ digest: request.digest, format, unpackedBytes, annotations }),
  );
  return annotations;
}

async function moveIntoPlace(scratch: string, entry: string): Promise<void> {
  try {
    await rename(scratch, entry);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // Another worker was faster; what it put there is the same by its digest.
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

/** A store in a folder; several processes may share it. */
export function createArtifactStore(options: StoreOptions): ArtifactStore {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const { maxBytes = DEFAULT_MAX_BYTES, minIdleMs = DEFAULT_MIN_IDLE_MS } = options;

  return {
    async fetchArtifact(request) {
      if (!isDigest(request.digest)) throw stalled('InvalidReference', `${request.digest.slice(0, 80)} is no digest`);
      const tenantDir = join(options.dir, segment(request.tenant));
      const entry = join(tenantDir, request.digest.replace(':', '-'));
      const hit = await readEntry(entry);
      if (hit !== undefined) return hit;
      await mkdir(tenantDir, { recursive: true, mode: 0o700 });
      const scratch = join(tenantDir, `.tmp-${randomUUID()}`);
      await mkdir(scratch, { mode: 0o700 });
      try {
        const annotations = await build(request, scratch, limits);
        await moveIntoPlace(scratch, entry);
        await evict(options.dir, { maxBytes, minIdleMs, now: new Date() });
        return { dir: join(entry, TREE), annotations, cached: false };
      } finally {
        await rm(scratch, { recursive: true, force: true });
      }
    },
  };
}
