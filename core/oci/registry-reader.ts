import { stalled } from '#core/domain/errors.ts';
import { isDigest, type Repository } from '#core/domain/reference.ts';
import { readAll } from './body.ts';
import { assertReference, nameOf, type ManifestContent } from './content.ts';
import { checked, digestOf } from './digest.ts';
import type { HttpResponse, HttpTimeouts } from './http.ts';
import { checkManifest, MAX_MANIFEST_BYTES } from './manifest.ts';
import { bareType, MANIFEST_TYPES } from './media-types.ts';
import type { Descriptor, Fetcher, Resolver } from './port.ts';
import { resumedBody } from './ranged.ts';
import type { Session } from './session.ts';
import { assertAnswered } from './status.ts';

const ACCEPT = [...MANIFEST_TYPES].join(', ');

interface Asking {
  session: Session;
  repository: Repository;
  limitMs: number;
  signal: AbortSignal;
}

function requestManifest(asking: Asking, method: 'GET' | 'HEAD', reference: string): Promise<HttpResponse> {
  const { session, ...rest } = asking;
  const target = `/v2/${asking.repository.name}/manifests/${reference}`;
  return session.send({ ...rest, method, target, access: 'pull', headers: { accept: ACCEPT } });
}

/** The descriptor in the headers of a HEAD; undefined where a GET must be asked instead. */
function fromHead(response: HttpResponse): Descriptor | undefined {
  const digest = response.header('docker-content-digest');
  const size = response.header('content-length');
  const mediaType = bareType(response.header('content-type'));
  if (response.status !== 200 || digest === undefined || size === undefined || mediaType === undefined)
    return undefined;
  return isDigest(digest) && MANIFEST_TYPES.has(mediaType) ? { mediaType, digest, size: Number(size) } : undefined;
}

async function getManifest(asking: Asking, reference: string): Promise<ManifestContent & { digest: string }> {
  const what = nameOf(asking.repository, reference);
  const response = await requestManifest(asking, 'GET', reference);
  await assertAnswered(response, what);
  const bytes = await readAll(response, MAX_MANIFEST_BYTES, `the manifest of ${what}`);
  const declared = response.header('docker-content-digest');
  if (isDigest(reference) && declared !== undefined && declared !== reference) {
    throw stalled('DigestMismatch', `${what} was answered with the digest ${declared}; check the registry`);
  }
  const digest = isDigest(reference) ? reference : declared;
  const mediaType = checkManifest({ bytes, contentType: response.header('content-type'), digest }, what);
  return { bytes, mediaType, digest: digest ?? digestOf(bytes) };
}

/** The bytes of a manifest that is exactly what its descriptor says. */
async function fetchManifest(asking: Asking, descriptor: Descriptor): Promise<Buffer> {
  const what = nameOf(asking.repository, descriptor.digest);
  if (descriptor.size > MAX_MANIFEST_BYTES) {
    throw stalled(
      'ArtifactTooLarge',
      `the manifest of ${what} is larger than the allowed ${MAX_MANIFEST_BYTES} bytes; check what was pushed`,
    );
  }
  const { bytes, mediaType } = await getManifest(asking, descriptor.digest);
  if (bytes.byteLength !== descriptor.size) {
    throw stalled(
      'DigestMismatch',
      `the manifest of ${what} has ${bytes.byteLength} bytes, its descriptor says ${descriptor.size}; push it again`,
    );
  }
  if (mediaType !== descriptor.mediaType) {
    throw stalled(
      'ArtifactInvalid',
      `${what} is ${mediaType}, its descriptor says ${descriptor.mediaType}; check what was pushed and the registry`,
    );
  }
  return bytes;
}

async function fetchBlob(asking: Asking, { digest, size }: Descriptor): Promise<AsyncIterable<Uint8Array>> {
  const { session, ...rest } = asking;
  const { host, name } = asking.repository;
  const what = `blob of ${host}/${name}`;
  const target = `/v2/${name}/blobs/${digest}`;
  const request = { ...rest, method: 'GET', target, access: 'pull' } as const;
  const body = await resumedBody(session, request, { size, what: `${what} ${digest}` });
  return checked(body, { digest, size, what });
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

/** Resolves names and fetches content of registries (distribution-spec v1.1.1, "Pull"). */
export function createReader(session: Session, timeouts: HttpTimeouts): Resolver & Fetcher {
  return {
    async resolve(repository, reference, signal) {
      assertReference(reference);
      const asking = { session, repository, limitMs: timeouts.total, signal };
      const head = await requestManifest(asking, 'HEAD', reference);
      await head.discard();
      const found = fromHead(head);
      if (found !== undefined && isDigest(reference) && found.digest !== reference) {
        const what = nameOf(repository, reference);
        throw stalled('DigestMismatch', `${what} was answered with ${found.digest}; check the registry`);
      }
      if (found !== undefined) return found;
      // No answer to HEAD says why; GET does, and some registries only know GET.
      const { bytes, mediaType, digest } = await getManifest(asking, reference);
      return { mediaType, digest, size: bytes.byteLength };
    },
    async fetch(repository, descriptor, signal) {
      const { digest, mediaType } = descriptor;
      if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
      const asking = { session, repository, signal };
      if (!MANIFEST_TYPES.has(mediaType)) return fetchBlob({ ...asking, limitMs: timeouts.blob }, descriptor);
      return once(await fetchManifest({ ...asking, limitMs: timeouts.total }, descriptor));
    },
  };
}
