import { stalled, transient } from '#core/domain/errors.ts';
import { isDigest, isTag, type Repository } from '#core/domain/reference.ts';
import { createAuthenticator } from './auth.ts';
import { readAll } from './body.ts';
import { checked, digestOf } from './digest.ts';
import { createHttp, DEFAULT_TIMEOUTS, type HttpResponse, type HttpTimeouts } from './http.ts';
import { checkManifest, MAX_MANIFEST_BYTES } from './manifest.ts';
import { bareType, MANIFEST_TYPES } from './media-types.ts';
import type { Descriptor, Fetcher, Pusher, RegistryCredentials, Resolver } from './port.ts';
import { createPusher } from './registry-push.ts';
import { listTags } from './registry-tags.ts';
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts';
import { createSession, type Session, type SessionOptions } from './session.ts';
import { assertAnswered } from './status.ts';

export interface RegistryClientOptions {
  /** `host:port` of registries that may be reached by plain HTTP; all others by HTTPS only. */
  plainHttpHosts: readonly string[];
  /** `host[:port]` of token servers and blob stores in private networks that registries may send us to. */
  privateHosts?: readonly string[];
  /** Credentials for a registry; none by default. */
  credentials?: SessionOptions['credentials'];
  timeouts?: Partial<HttpTimeouts>;
  retry?: Partial<RetryPolicy>;
  userAgent?: string;
}

/** A client of any registry that follows the OCI distribution specification v1.1. */
export interface RegistryClient extends Resolver, Fetcher, Pusher {
  /** Gives what `reference` names one more tag, by pushing the very bytes of its manifest again. */
  tag(repository: Repository, reference: string, tag: string, signal: AbortSignal): Promise<Descriptor>;
  /** The same connections and remembered tokens, other credentials (undefined: anonymous). */
  withCredentials(credentials: RegistryCredentials | undefined): RegistryClient;
  /** Ends every connection, also of clients made by `withCredentials`. */
  close(): Promise<void>;
}

const ACCEPT = [...MANIFEST_TYPES].join(', ');

/** `host/name:tag` or `host/name@digest`, for messages. */
function nameOf(repository: Repository, reference: string): string {
  return `${repository.host}/${repository.name}${isDigest(reference) ? '@' : ':'}${reference}`;
}

function requestManifest(
  session: Session,
  request: { method: 'GET' | 'HEAD'; repository: Repository; reference: string; limitMs: number; signal: AbortSignal },
): Promise<HttpResponse> {
  const { reference, ...rest } = request;
  const target = `/v2/${request.repository.name}/manifests/${reference}`;
  return session.send({ ...rest, target, access: 'pull', headers: { accept: ACCEPT } });
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

async function getManifest(
  session: Session,
  repository: Repository,
  reference: string,
  limitMs: number,
  signal: AbortSignal,
) {
  const what = nameOf(repository, reference);
  const response = await requestManifest(session, { method: 'GET', repository, reference, limitMs, signal });
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

function createReader(session: Session, timeouts: HttpTimeouts): Resolver & Fetcher {
  return {
    async resolve(repository, reference, signal) {
      const limitMs = timeouts.total;
      const head = await requestManifest(session, { method: 'HEAD', repository, reference, limitMs, signal });
      await head.discard();
      const found = fromHead(head);
      if (found !== undefined && isDigest(reference) && found.digest !== reference) {
        throw stalled(
          'DigestMismatch',
          `${nameOf(repository, reference)} was answered with ${found.digest}; check the registry`,
        );
      }
      if (found !== undefined) return found;
      // No answer to HEAD says why; GET does, and some registries only know GET.
      const { bytes, mediaType, digest } = await getManifest(session, repository, reference, limitMs, signal);
      return { mediaType, digest, size: bytes.byteLength };
    },
    tags: (repository, signal) => listTags(session, repository, timeouts.total, signal),
    async manifest(repository, digest, signal) {
      if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
      const { bytes, mediaType } = await getManifest(session, repository, digest, timeouts.total, signal);
      return { bytes, mediaType };
    },
    async blob(repository, { digest, size }, signal) {
      const what = `blob of ${repository.host}/${repository.name}`;
      const target = `/v2/${repository.name}/blobs/${digest}`;
      const limitMs = timeouts.blob;
      const response = await session.send({ method: 'GET', repository, target, access: 'pull', limitMs, signal });
      await assertAnswered(response, `${what} ${digest}`);
      const declared = response.header('content-length');
      if (declared !== undefined && Number(declared) !== size) {
        await response.discard();
        throw stalled(
          'DigestMismatch',
          `${what} ${digest} has ${declared} bytes, its descriptor says ${size}; check the registry, push it again, then \`plumb reconcile\``,
        );
      }
      if (response.status !== 200)
        throw transient('SourceUnreachable', `${what} ${digest} answered ${response.status}`);
      return checked(response.body, { digest, size, what });
    },
  };
}

/**
 * Makes a client with connections of its own. Nothing is dialled before the first call; every call takes a signal and
 * has limits on time and bytes.
 */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const { plainHttpHosts, privateHosts = [], userAgent = 'plumbline' } = options;
  const http = createHttp({ plainHttpHosts, privateHosts, timeouts, userAgent });
  const authenticator = createAuthenticator(http, timeouts.total);
  const retry = { ...DEFAULT_RETRY, ...options.retry };

  function withSource(credentials: SessionOptions['credentials']): RegistryClient {
    const session = createSession({ http, authenticator, retry, plainHttpHosts, credentials });
    const reader = createReader(session, timeouts);
    const pusher = createPusher(session, { retry, timeouts });
    return {
      ...reader,
      ...pusher,
      async tag(repository, reference, tag, signal) {
        if (!isTag(tag)) throw stalled('InvalidReference', `${JSON.stringify(tag)} is no valid tag`);
        const { digest } = await reader.resolve(repository, reference, signal);
        return pusher.pushManifest(repository, tag, await reader.manifest(repository, digest, signal), signal);
      },
      withCredentials: (given) => withSource(() => given),
      close: () => http.close(),
    };
  }

  return withSource(options.credentials ?? (() => undefined));
}
