import { stalled } from '#core/domain/errors.ts';
import { isDigest } from '#core/domain/reference.ts';
import { field, parseJson } from './body.ts';
import { assertReference, nameOf } from './content.ts';
import { digestOf, hasDigest } from './digest.ts';
import type { HttpTimeouts } from './http.ts';
import type { Descriptor, Pusher } from './port.ts';
import type { Referrers } from './referrers.ts';
import { uploadBlob } from './registry-upload.ts';
import { withRetries, type RetryPolicy } from './retry.ts';
import type { Session } from './session.ts';
import { assertAnswered } from './status.ts';

const ACCESS = 'pull,push';

export interface PushOptions {
  retry: RetryPolicy;
  timeouts: HttpTimeouts;
  /** Bytes of a chunk, for registries behind a proxy that takes no large bodies; in one piece when undefined. */
  chunkBytes: number | undefined;
  referrers: Referrers;
}

/** Pushes a manifest and checks what was stored; `handled` says whether the registry knows its subject. */
async function putManifest(
  session: Session,
  limitMs: number,
  ...[repository, reference, { bytes, mediaType }, signal]: Parameters<Pusher['pushManifest']>
): Promise<{ descriptor: Descriptor; subjectHandled: boolean }> {
  assertReference(reference);
  const what = `push of ${nameOf(repository, reference)}`;
  const declared = field(parseJson(bytes), 'mediaType');
  if (declared !== undefined && declared !== mediaType) {
    throw stalled('ArtifactInvalid', `${what}: the manifest says ${JSON.stringify(declared)}, not ${mediaType}`);
  }
  if (isDigest(reference) && !hasDigest(bytes, reference)) {
    throw stalled('DigestMismatch', `${what}: the bytes have the digest ${digestOf(bytes)}`);
  }
  const target = `/v2/${repository.name}/manifests/${reference}`;
  const headers = { 'content-type': mediaType };
  const put = { method: 'PUT', repository, target, access: ACCESS, headers, body: bytes, limitMs, signal } as const;
  const response = await session.send(put);
  await assertAnswered(response, what);
  await response.discard();
  const digest = isDigest(reference) ? reference : digestOf(bytes);
  const stored = response.header('docker-content-digest');
  // A registry may hash with another algorithm than we do.
  if (stored?.startsWith(digest.slice(0, digest.indexOf(':') + 1)) === true && stored !== digest) {
    throw stalled('DigestMismatch', `${what}: the registry stored ${stored} instead of ${digest}`);
  }
  const descriptor = { mediaType, digest, size: bytes.byteLength };
  return { descriptor, subjectHandled: response.header('oci-subject') !== undefined };
}

/** Pushes a manifest that has no subject, such as the index of a referrers tag. */
export async function pushManifest(
  session: Session,
  limitMs: number,
  ...pushed: Parameters<Pusher['pushManifest']>
): Promise<Descriptor> {
  return (await putManifest(session, limitMs, ...pushed)).descriptor;
}

/** Pushes blobs and manifests (distribution-spec v1.1.1, "Push"). */
export function createPusher(session: Session, options: PushOptions): Pusher {
  const { retry, timeouts, chunkBytes, referrers } = options;
  const limitMs = timeouts.total;

  return {
    async pushBlob(repository, content, signal) {
      const { digest } = content.descriptor;
      if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
      const target = `/v2/${repository.name}/blobs/${digest}`;
      const found = await session.send({ method: 'HEAD', repository, target, access: ACCESS, limitMs, signal });
      await found.discard();
      if (found.status === 200) return { existed: true };
      await withRetries(retry, signal, () =>
        uploadBlob({ session, timeouts, repository, content, signal }, chunkBytes),
      );
      return { existed: false };
    },
    async pushManifest(repository, reference, manifest, signal) {
      const pushed = await putManifest(session, limitMs, repository, reference, manifest, signal);
      const { bytes } = manifest;
      const subject = field(field(parseJson(bytes), 'subject'), 'digest');
      if (typeof subject === 'string' && isDigest(subject) && !pushed.subjectHandled) {
        await referrers.add(repository, subject, { bytes, descriptor: pushed.descriptor }, signal);
      }
      return pushed.descriptor;
    },
  };
}
