import { createHash, randomUUID } from 'node:crypto';
import { mkdir, rename, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { canonicalJson } from '#core/domain/plan.ts';
import { isDigest, type Repository } from '#core/domain/reference.ts';
import { chooseParts, ownPlatform, PARTS, type Part } from './artifact-parts.ts';
import type { Selection } from './artifact.ts';
import { createEvictor, evict } from './cache-eviction.ts';
import { assertWithin, readManifests, readRecord, writeRecord, type EntryRecord } from './cache-record.ts';
import { nameOf } from './content.ts';
import { diskFull, isDiskFull } from './disk.ts';
import { DEFAULT_LIMITS, lowerLimits, type ArtifactLimits } from './limits.ts';
import type { Fetcher, Resolver } from './port.ts';
import { findProgram, type NamedManifest } from './program-manifest.ts';
import { PART_FOLDERS, TREE, unpackArtifact } from './unpack-artifact.ts';

export interface StoreOptions {
  /** Folder of the cache, made when missing; nothing else may live in it. */
  dir: string;
  limits?: Partial<ArtifactLimits>;
  /** Unpacked bytes the cache may hold before the least recently used go. */
  maxBytes?: number;
  /** Milliseconds during which an entry counts as in use after it was last asked for. */
  minIdleMs?: number;
  /** `os/arch` whose layers are used; this machine's by default. */
  platform?: string;
}

export interface FetchRequest {
  tenant: string;
  client: Resolver & Fetcher;
  repository: Repository;
  /** Of the manifest or index; what is returned holds exactly what it stands for. */
  digest: string;
  /** What of the artifact is used; all of it by default. */
  selection?: Selection;
  /** Caps of the tenant; the worker's own count where they are lower. */
  limits?: Partial<ArtifactLimits>;
  /**
   * Says whether the artifact may be used at all, by throwing. Awaited on every call, also when the cache has the tree,
   * and before any layer is downloaded. `chosen`: the one manifest of an index.
   */
  admit?(manifest: NamedManifest, chosen?: NamedManifest): Promise<void>;
  signal: AbortSignal;
}

/** A part of an artifact, unpacked. */
export interface FetchedPart {
  dir: string;
  /** Of the layer. */
  digest: string;
}

export interface FetchedArtifact {
  /** Root of the unpacked tree. Shared: read it or copy it, never write to it; see `ArtifactStore.hold`. */
  dir: string;
  /** Of the manifest (source, revision, …); an index's own come first. */
  annotations: Record<string, string>;
  /** Dependencies, plugins and policy packs that the artifact brings along. Shared like the tree. */
  parts: Partial<Record<Part, FetchedPart>>;
  cached: boolean;
}

/** Unpacked artifacts by tenant, digest and selection. */
export interface ArtifactStore {
  /**
   * The unpacked tree of an artifact, from the cache or the registry. Nothing is unpacked before it was admitted and its
   * digest has held, and nothing is seen half-way: many workers may ask for the same at once.
   * @throws ReconcileError Source… | DigestMismatch | ArtifactInvalid | ArtifactTooLarge | UnpackRefused | SpecInvalid |
   * PluginUnavailable | DependenciesFailed; transient DiskFull
   */
  fetchArtifact(request: FetchRequest): Promise<FetchedArtifact>;
  /** Keeps an artifact from being evicted until the returned function is called; without, it is safe for `minIdleMs`. */
  hold(artifact: FetchedArtifact): () => void;
}

const GIB = 1024 ** 3;
const DEFAULT_MAX_BYTES = 5 * GIB;
const DEFAULT_MIN_IDLE_MS = 3_600_000;
/** A hold touches its entry so often in the time after which it would count as idle. */
const TOUCHES = 4;

function segment(name: string): string {
  if (/^[a-z0-9][a-z0-9-]*$/.test(name)) return name;
  throw stalled('SpecInvalid', `${JSON.stringify(name)} cannot be the name of a tenant's folder`);
}

/** The folder of an entry: the digest, and what of it is used, since that changes the tree. */
function entryName(digest: string, { layerSelector, imagePath, ignore }: Selection): string {
  const name = digest.replace(':', '-');
  if (layerSelector === undefined && imagePath === undefined && ignore === undefined) return name;
  const used = canonicalJson({ layerSelector, imagePath, ignore });
  return `${name}-${createHash('sha256').update(used).digest('hex').slice(0, 16)}`;
}

async function touch(entry: string): Promise<void> {
  const now = new Date();
  await utimes(entry, now, now);
}

function fetched(entry: string, record: EntryRecord, cached: boolean): FetchedArtifact {
  const parts: FetchedArtifact['parts'] = {};
  for (const part of PARTS) {
    const digest = record.parts[part];
    if (digest !== undefined) parts[part] = { dir: join(entry, PART_FOLDERS[part]), digest };
  }
  return { dir: join(entry, TREE), annotations: record.annotations, parts, cached };
}

/** The entry, if the cache has it and it may be used. */
async function readEntry(
  entry: string,
  request: FetchRequest,
  limits: ArtifactLimits,
): Promise<FetchedArtifact | undefined> {
  try {
    await touch(entry);
    const record = await readRecord(entry);
    if (record === undefined) return undefined;
    const { manifest, chosen } = await readManifests(entry, record);
    assertWithin(record, limits, nameOf(request.repository, request.digest));
    await request.admit?.(manifest, chosen);
    return fetched(entry, record, true);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Builds a complete entry in `scratch`. */
async function build(
  request: FetchRequest,
  scratch: string,
  limits: ArtifactLimits,
  platform: string,
): Promise<EntryRecord> {
  const { client: source, repository, digest, signal, selection = {} } = request;
  const found = await findProgram(source, { repository, digest }, selection, signal);
  const { artifact, manifest, chosen, what } = found;
  await request.admit?.(manifest, chosen);
  const parts = chooseParts(artifact.parts, platform, what);
  const said = {
    format: artifact.format,
    annotations: artifact.annotations,
    parts: Object.fromEntries(parts.map(({ part, layer }) => [part, layer.descriptor.digest])),
  };
  const unpack = { source, repository, artifact, parts, selection, limits, what, signal };
  const record = { ...said, ...(await unpackArtifact(unpack, scratch)) };
  await writeRecord(scratch, record, { manifest, chosen });
  return { ...record, manifest };
}

async function moveIntoPlace(scratch: string, entry: string): Promise<void> {
  try {
    await rename(scratch, entry);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // Another worker was faster; what it put there is the same by its digest.
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    if ((await readRecord(entry).catch(() => undefined)) !== undefined) return;
    // An earlier version of ours left it, and no run of this one has used it.
    await rm(entry, { recursive: true, force: true });
    await rename(scratch, entry);
  }
}

/** A store in a folder; several processes may share it. */
export function createArtifactStore(options: StoreOptions): ArtifactStore {
  const own = { ...DEFAULT_LIMITS, ...options.limits };
  const { dir, maxBytes = DEFAULT_MAX_BYTES, minIdleMs = DEFAULT_MIN_IDLE_MS, platform = ownPlatform() } = options;
  const makeRoom = createEvictor(dir, { maxBytes, minIdleMs });

  async function fetchAnew(request: FetchRequest, entry: string, limits: ArtifactLimits): Promise<FetchedArtifact> {
    const tenantDir = join(entry, '..');
    await mkdir(tenantDir, { recursive: true, mode: 0o700 });
    const scratch = join(tenantDir, `.tmp-${randomUUID()}`);
    await mkdir(scratch, { mode: 0o700 });
    try {
      const record = await build(request, scratch, limits, platform);
      await moveIntoPlace(scratch, entry);
      await makeRoom(record.unpackedBytes);
      return fetched(entry, record, false);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  return {
    async fetchArtifact(request) {
      const { digest, selection = {}, repository } = request;
      if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
      const entry = join(dir, segment(request.tenant), entryName(digest, selection));
      const limits = lowerLimits(own, request.limits ?? {});
      const hit = await readEntry(entry, request, limits);
      if (hit !== undefined) return hit;
      try {
        return await fetchAnew(request, entry, limits);
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        // So that the next attempt has a chance: what nobody uses can be fetched again.
        await evict(dir, { maxBytes: 0, minIdleMs, now: new Date() });
        throw await diskFull(error, dir, nameOf(repository, digest));
      }
    },
    hold({ dir: tree }) {
      const entry = join(tree, '..');
      // An entry that is gone all the same makes the run fail by itself.
      const timer = setInterval(() => void touch(entry).catch(() => undefined), Math.ceil(minIdleMs / TOUCHES));
      timer.unref();
      return () => clearInterval(timer);
    },
  };
}
