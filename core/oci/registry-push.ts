import { stalled, transient } from '#core/domain/errors.ts';
import type { Repository } from '#core/domain/reference.ts';
import { digestOf } from './digest.ts';
import type { HttpResponse, HttpTimeouts } from './http.ts';
import type { Pusher } from './port.ts';
import { withRetries, type RetryPolicy } from './retry.ts';
import type { Session } from './session.ts';
import { assertAnswered } from './status.ts';

const ACCESS = 'pull,push';

/** Where an opened upload goes on, completed by the digest. */
function uploadTarget(opened: HttpResponse, digest: string, what: string): URL {
  const location = opened.header('location');
  if (location === undefined || !URL.canParse(location, opened.url.href)) {
    throw transient('SourceUnreachable', `${what}: no upload location was given`);
  }
  const target = new URL(location, opened.url);
  if (opened.url.protocol === 'https:' && target.protocol !== 'https:') {
    throw stalled('InvalidReference', `${what}: refused to go on from https to ${target.origin}`);
  }
  // The query is opaque to us, so it is added to and never written anew.
  target.search += `${target.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`;
  return target;
}

/** "POST then PUT" of distribution-spec, "Pushing a blob monolithically". */
async function upload(
  session: Session,
  blob: { repository: Repository; digest: string; bytes: Buffer; signal: AbortSignal },
  timeouts: HttpTimeouts,
): Promise<void> {
  const { repository, digest, bytes, signal } = blob;
  const what = `upload to ${repository.host}/${repository.name}`;
  const common = { repository, access: ACCESS, signal, retry: false } as const;
  const start = `/v2/${repository.name}/blobs/uploads/`;
  const body = Buffer.alloc(0);
  const opened = await session.send({ ...common, method: 'POST', target: start, body, limitMs: timeouts.total });
  await assertAnswered(opened, what);
  await opened.discard();
  const target = uploadTarget(opened, digest, what);
  const headers = { 'content-type': 'application/octet-stream' };
  const put = { ...common, method: 'PUT', target, headers, body: bytes, limitMs: timeouts.blob } as const;
  const stored = await session.send(put);
  await assertAnswered(stored, what);
  await stored.discard();
}

/** Pushes blobs in one piece, and manifests. */
export function createPusher(session: Session, options: { retry: RetryPolicy; timeouts: HttpTimeouts }): Pusher {
  const limitMs = options.timeouts.total;

  return {
    async pushBlob(repository, bytes, signal) {
      const digest = digestOf(bytes);
      const target = `/v2/${repository.name}/blobs/${digest}`;
      const found = await session.send({ method: 'HEAD', repository, target, access: ACCESS, limitMs, signal });
      await found.discard();
      if (found.status === 200) return { digest, existed: true };
      // An upload session serves one PUT, so a retry starts from the POST.
      const blob = { repository, digest, bytes, signal };
      await withRetries(options.retry, signal, () => upload(session, blob, options.timeouts));
      return { digest, existed: false };
    },
    async pushManifest(repository, reference, { bytes, mediaType }, signal) {
      const what = `push of ${reference} to ${repository.host}/${repository.name}`;
      const target = `/v2/${repository.name}/manifests/${reference}`;
      const headers = { 'content-type': mediaType };
      const put = { method: 'PUT', repository, target, access: ACCESS, headers, body: bytes, limitMs, signal } as const;
      const response = await session.send(put);
      await assertAnswered(response, what);
      await response.discard();
      const digest = digestOf(bytes);
      const stored = response.header('docker-content-digest');
      if (stored?.startsWith('sha256:') === true && stored !== digest) {
        throw stalled('DigestMismatch', `${what}: the registry stored ${stored} instead of ${digest}`);
      }
      return { mediaType, digest, size: bytes.byteLength };
    },
  };
}
