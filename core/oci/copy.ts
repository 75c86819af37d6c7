import { ReconcileError, stalled } from '#core/domain/errors.ts';
import { isTag, type Repository } from '#core/domain/reference.ts';
import { partsOf } from './closure.ts';
import { createLimiter } from './limiter.ts';
import { nameOf, readManifest } from './content.ts';
import { INDEX_TYPES, MANIFEST_TYPES } from './media-types.ts';
import type { Content, Descriptor, Pusher, Source } from './port.ts';
import { createReferrerList } from './referrer-list.ts';
import { referrersTag } from './referrers.ts';

/** As dockerd, containerd and oras do. */
const MAX_AT_ONCE = 3;
/** More than any artifact with all that is attached to it; a registry must not choose how long we copy. */
const MAX_ITEMS = 20_000;
/** Tags under which cosign keeps what it attached before there were referrers (SIGNATURE_SPEC.md, "Tag-based Discovery"). */
const LEGACY_TAGS = ['sig', 'att', 'sbom'] as const;

export interface CopyRequest {
  from: Repository;
  /** Tag or digest in `from`. */
  reference: string;
  to: Repository;
  /** What the copy goes by, set last of all; it keeps only its digest when undefined. */
  tag?: string;
  /** Whether signatures, attestations and all else that is attached come along; default yes. */
  withReferrers?: boolean;
  signal: AbortSignal;
}

export interface CopiedItem {
  kind: 'manifest' | 'blob';
  mediaType: string;
  digest: string;
  size: number;
  /** `to` had it already, so it was not sent. */
  existed: boolean;
  /** Digest of what it is attached to. */
  subject?: string;
}

export interface CopyResult {
  digest: string;
  mediaType: string;
  /** In the order in which they were complete. */
  items: CopiedItem[];
  /** Tags that were set: those of cosign such as `sha256-<hex>.sig`, and the wanted one last of all. */
  tags: { tag: string; digest: string }[];
  /** Layers that live elsewhere and what is listed as attached but gone: not copied. */
  leftOut: { digest: string; why: string }[];
}

function isMissing(error: unknown): boolean {
  return error instanceof ReconcileError && error.reason === 'SourceNotFound';
}

async function unlessMissing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

interface Copying {
  source: Source;
  target: Source & Pusher;
  request: CopyRequest;
  /** Whether a blob may be mounted instead of sent. */
  sameRegistry: boolean;
  limit: <T>(act: () => Promise<T>) => Promise<T>;
  /** One promise for each digest, so that nothing is copied twice. Content cannot name itself, so none waits for itself. */
  started: Map<string, Promise<void>>;
  /** Digests of manifests of which it is not yet known what is attached. */
  unseen: string[];
  result: CopyResult;
  /** Ends everything under way when one part fails for good. */
  failed: AbortController;
  signal: AbortSignal;
}

function once(copying: Copying, digest: string, act: () => Promise<void>): Promise<void> {
  const found = copying.started.get(digest);
  if (found !== undefined) return found;
  const started = act();
  copying.started.set(digest, started);
  return started;
}

/** Waits for all, so that nothing goes on behind the caller's back; the first failure ends the others. */
async function everyOne(copying: Copying, parts: Promise<void>[]): Promise<void> {
  const guarded = parts.map((part) =>
    part.catch((error: unknown) => {
      if (!isMissing(error)) copying.failed.abort(error);
      throw error;
    }),
  );
  const outcome = (await Promise.allSettled(guarded)).find(({ status }) => status === 'rejected');
  if (outcome?.status === 'rejected') throw outcome.reason;
}

async function copyBlob(copying: Copying, descriptor: Descriptor): Promise<void> {
  const { source, target, request, limit, result, signal } = copying;
  const { from, to } = request;
  const content: Content = {
    descriptor,
    async *open() {
      yield* await source.fetch(from, descriptor, signal);
    },
    ...(copying.sameRegistry ? { mountFrom: from.name } : {}),
  };
  const { existed } = await limit(() => target.pushBlob(to, content, signal));
  result.items.push({ kind: 'blob', ...bare(descriptor), existed });
}

function bare({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

/** Copies a manifest after everything it names. */
function copyManifest(copying: Copying, descriptor: Descriptor, subject?: string): Promise<void> {
  return once(copying, descriptor.digest, async () => {
    const { source, target, request, limit, result, signal } = copying;
    const what = nameOf(request.from, descriptor.digest);
    if (copying.started.size > MAX_ITEMS) {
      throw stalled('ArtifactTooLarge', `${what}: more than ${MAX_ITEMS} manifests and blobs belong to what is copied`);
    }
    if (!MANIFEST_TYPES.has(descriptor.mediaType)) {
      throw stalled('ArtifactInvalid', `${what} is ${descriptor.mediaType} where a manifest belongs; it is not copied`);
    }
    const manifest = await limit(() => readManifest(source, request.from, descriptor, signal));
    const { manifests, blobs, foreign } = partsOf(manifest, what);
    for (const { digest } of foreign) result.leftOut.push({ digest, why: 'lives elsewhere (urls)' });
    await everyOne(copying, [
      ...manifests.map((each) => copyManifest(copying, each)),
      ...blobs.map((each) => once(copying, each.digest, () => copyBlob(copying, each))),
    ]);
    const known = await limit(() => unlessMissing(target.resolve(request.to, descriptor.digest, signal)));
    // Pushed even when it is known: a copy that was interrupted may not have entered it into the referrers tag.
    await limit(() => target.pushManifest(request.to, descriptor.digest, manifest, signal));
    const about = subject === undefined ? {} : { subject };
    result.items.push({ kind: 'manifest', ...bare(descriptor), existed: known !== undefined, ...about });
    copying.unseen.push(descriptor.digest);
  });
}

/** What is attached to a digest: listed by the registry, or under the tag of registries that do not list. */
async function attachedTo({ source, request, limit, signal }: Copying, digest: string): Promise<Descriptor[]> {
  const { from } = request;
  const found = new Map<string, Descriptor>();
  for (const each of await limit(() => source.referrers(from, digest, {}, signal))) found.set(each.digest, each);
  // A registry that has the API now may still hold what was attached when it had not.
  const index = await limit(() => unlessMissing(source.resolve(from, referrersTag(digest), signal)));
  if (index !== undefined && INDEX_TYPES.has(index.mediaType)) {
    const list = createReferrerList(`the referrers tag of ${nameOf(from, digest)}`);
    list.addPage((await limit(() => readManifest(source, from, index, signal))).bytes);
    for (const each of list.all()) if (!found.has(each.digest)) found.set(each.digest, each);
  }
  return [...found.values()];
}

async function setTag(copying: Copying, descriptor: Descriptor, tag: string): Promise<void> {
  const { source, target, request, limit, result, signal } = copying;
  const manifest = await limit(() => readManifest(source, request.from, descriptor, signal));
  await limit(() => target.pushManifest(request.to, tag, manifest, signal));
  result.tags.push({ tag, digest: descriptor.digest });
}

async function copyAttached(copying: Copying, digest: string): Promise<void> {
  const { source, request, limit, result, signal } = copying;
  const referrers = (await attachedTo(copying, digest)).map(async (referrer) => {
    try {
      await copyManifest(copying, referrer, digest);
    } catch (error) {
      // Indexes under a tag often name signatures that were deleted since.
      if (!isMissing(error)) throw error;
      result.leftOut.push({ digest: referrer.digest, why: `listed as attached to ${digest} and not there` });
    }
  });
  const tagged = LEGACY_TAGS.map(async (suffix) => {
    const tag = `${referrersTag(digest)}.${suffix}`;
    const found = await limit(() => unlessMissing(source.resolve(request.from, tag, signal)));
    if (found === undefined) return;
    await copyManifest(copying, found, digest);
    await setTag(copying, found, tag);
  });
  await everyOne(copying, [...referrers, ...tagged]);
}

/**
 * Copies an artifact with everything it consists of and everything attached to it: children before parents, attachments
 * before the tag, so that whoever sees the tag finds it complete with its signatures. What is there already is not sent,
 * so a copy that was interrupted is simply repeated. At most three things travel at once.
 * @throws ReconcileError as source and target do; stalled ArtifactInvalid | ArtifactTooLarge
 */
export async function copyArtifact(source: Source, target: Source & Pusher, request: CopyRequest): Promise<CopyResult> {
  const { from, to, reference, tag } = request;
  if (tag !== undefined && !isTag(tag)) {
    throw stalled('InvalidReference', `${JSON.stringify(tag.slice(0, 140))} is no valid tag`);
  }
  const failed = new AbortController();
  const signal = AbortSignal.any([request.signal, failed.signal]);
  const root = await source.resolve(from, reference, signal);
  const { digest, mediaType } = root;
  const result: CopyResult = { digest, mediaType, items: [], tags: [], leftOut: [] };
  const sameRegistry = from.host === to.host && from.name !== to.name;
  const limit = createLimiter(MAX_AT_ONCE);
  const started = new Map<string, Promise<void>>();
  const copying: Copying = {
    source,
    target,
    request,
    sameRegistry,
    limit,
    started,
    unseen: [],
    result,
    failed,
    signal,
  };
  await copyManifest(copying, root);
  while (request.withReferrers !== false && copying.unseen.length > 0) {
    const next = copying.unseen.splice(0);
    await everyOne(
      copying,
      next.map((each) => copyAttached(copying, each)),
    );
  }
  if (tag !== undefined) await setTag(copying, root, tag);
  return result;
}
