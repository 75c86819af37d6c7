import { stalled } from '#core/domain/errors.ts';
import { isDigest, isTag, type Repository } from '#core/domain/reference.ts';
import { digestOf } from './digest.ts';
import { checkManifest, MAX_MANIFEST_BYTES } from './manifest.ts';
import type { Content, Descriptor, Fetcher, Resolver } from './port.ts';

/** The exact bytes of a manifest or index and what they are. */
export interface ManifestContent {
  bytes: Buffer;
  mediaType: string;
}

/** `host/name:tag` or `host/name@digest`, for messages. */
export function nameOf(repository: Repository, reference: string): string {
  return `${repository.host}/${repository.name}${isDigest(reference) ? '@' : ':'}${reference}`;
}

/**
 * Keeps what is neither a tag nor a digest out of a URL (distribution-spec, "Pulling manifests").
 * @throws ReconcileError stalled InvalidReference
 */
export function assertReference(reference: string): void {
  if (isDigest(reference) || isTag(reference)) return;
  throw stalled('InvalidReference', `${JSON.stringify(reference.slice(0, 80))} is neither a tag nor a digest`);
}

/** Bytes in memory as something to push. */
export function contentOf(bytes: Uint8Array, mediaType: string): Content {
  return {
    descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength },
    async *open() {
      yield bytes;
    },
  };
}

/**
 * A manifest that is held to the rules for manifests wherever it comes from, so that content first fetched as a blob does
 * not go round them.
 * @throws ReconcileError stalled ArtifactTooLarge at once; ArtifactInvalid | DigestMismatch while it is read
 */
export function manifestStream(
  source: AsyncIterable<Uint8Array>,
  descriptor: Descriptor,
  what: string,
): AsyncIterable<Uint8Array> {
  const { digest, size, mediaType } = descriptor;
  if (size > MAX_MANIFEST_BYTES) {
    throw stalled(
      'ArtifactTooLarge',
      `the manifest of ${what} is larger than the allowed ${MAX_MANIFEST_BYTES} bytes; check what was pushed`,
    );
  }
  return (async function* () {
    const chunks: Uint8Array[] = [];
    for await (const chunk of source) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    checkManifest({ bytes, contentType: mediaType, digest }, what);
    yield bytes;
  })();
}

/**
 * A whole blob in memory, for what is known to be small: configs, payloads, signatures.
 * @throws ReconcileError as the fetcher does; stalled ArtifactTooLarge before anything is asked for
 */
export async function readBlob(
  fetcher: Fetcher,
  repository: Repository,
  descriptor: Descriptor,
  limitBytes: number,
  signal: AbortSignal,
): Promise<Buffer> {
  if (descriptor.size > limitBytes) {
    const what = nameOf(repository, descriptor.digest);
    throw stalled(
      'ArtifactTooLarge',
      `${what} has ${descriptor.size} bytes, more than the allowed ${limitBytes}; check what was pushed`,
    );
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of await fetcher.fetch(repository, descriptor, signal)) chunks.push(chunk);
  return Buffer.concat(chunks, descriptor.size);
}

/**
 * The manifest or index of a digest. Who has its descriptor already saves the question for its type and size.
 * @throws ReconcileError as resolver and fetcher do; stalled InvalidReference for a tag: tags are resolved once, elsewhere
 */
export async function readManifest(
  source: Resolver & Fetcher,
  repository: Repository,
  wanted: string | Descriptor,
  signal: AbortSignal,
): Promise<ManifestContent> {
  const digest = typeof wanted === 'string' ? wanted : wanted.digest;
  if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
  const descriptor = typeof wanted === 'string' ? await source.resolve(repository, wanted, signal) : wanted;
  const bytes = await readBlob(source, repository, descriptor, MAX_MANIFEST_BYTES, signal);
  return { bytes, mediaType: descriptor.mediaType };
}
