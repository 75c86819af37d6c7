import { createKeyedLock } from '#core/keyed-lock.ts';
import { stalled } from '#core/domain/errors.ts';
import { isTag, type Repository } from '#core/domain/reference.ts';
import { createAuthenticator } from './auth.ts';
import { readManifest } from './content.ts';
import { createHttp, DEFAULT_TIMEOUTS, type HttpTimeouts } from './http.ts';
import type { Descriptor, Pusher, RegistryCredentials, Source } from './port.ts';
import { createMirrors } from './mirrors.ts';
import { createReferrers, type ReferrersMemory } from './referrers.ts';
import { NO_REGISTRY_SETTINGS, plainHttpHosts as plainHttpHostsOf, type RegistrySettings } from './registries.ts';
import { createPusher, pushManifest } from './registry-push.ts';
import { createReader } from './registry-reader.ts';
import { listTags } from './registry-tags.ts';
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts';
import { createSession, type CredentialSource } from './session.ts';
import { createWarnings, type WarningListener } from './warnings.ts';

export interface RegistryClientOptions {
  /** `host:port` of registries that may be reached by plain HTTP; all others by HTTPS only. */
  plainHttpHosts: readonly string[];
  /** `host[:port]` of token servers and blob stores in private networks that registries may send us to. */
  privateHosts?: readonly string[];
  /** What is set for single registries: mirrors, certificates, proxies, which are allowed. Nothing by default. */
  settings?: RegistrySettings;
  /** Credentials for a registry; none by default. */
  credentials?: CredentialSource;
  /** Credentials for mirrors, which never get those of the registry; none by default. */
  mirrorCredentials?: CredentialSource;
  timeouts?: Partial<HttpTimeouts>;
  retry?: Partial<RetryPolicy>;
  /** Uploads go in chunks of so many bytes, for proxies that take no large bodies; in one piece by default. */
  chunkBytes?: number;
  userAgent?: string;
  /** Told once of each warning of a registry (`Warning` headers); nobody by default. */
  onWarning?: WarningListener;
}

/** A client of any registry that follows the OCI distribution specification v1.1. */
export interface RegistryClient extends Source, Pusher {
  /** Gives what `reference` names one more tag, by pushing the very bytes of its manifest again. */
  tag(repository: Repository, reference: string, tag: string, signal: AbortSignal): Promise<Descriptor>;
  /** The same connections and remembered tokens, other credentials (undefined: anonymous). */
  withCredentials(credentials: RegistryCredentials | undefined): RegistryClient;
  /** Ends every connection, also of clients made by `withCredentials`. */
  close(): Promise<void>;
}

/**
 * Makes a client with connections of its own. Nothing is dialled before the first call; every call takes a signal and
 * has limits on time and bytes.
 */
export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const { settings = NO_REGISTRY_SETTINGS, privateHosts = [], userAgent = 'plumbline', mirrorCredentials } = options;
  const plainHttpHosts = [...options.plainHttpHosts, ...plainHttpHostsOf(settings)];
  const http = createHttp({ plainHttpHosts, privateHosts, timeouts, userAgent, settings });
  const mirrors = createMirrors(settings);
  const authenticator = createAuthenticator(http, timeouts.total);
  const retry = { ...DEFAULT_RETRY, ...options.retry };
  const memory: ReferrersMemory = new Map();
  const writing = createKeyedLock();
  const onAnswer = options.onWarning && createWarnings(options.onWarning);

  function withSource(credentials: CredentialSource): RegistryClient {
    const shared = { http, authenticator, retry, plainHttpHosts, settings, mirrors };
    const optional = { ...(mirrorCredentials && { mirrorCredentials }), ...(onAnswer && { onAnswer }) };
    const session = createSession({ ...shared, credentials, ...optional });
    const reader = createReader(session, timeouts);
    const limitMs = timeouts.total;
    const pushIndex: Pusher['pushManifest'] = (...pushed) => pushManifest(session, limitMs, ...pushed);
    const referrers = createReferrers({ session, reader, pushIndex, memory, writing, limitMs });
    const pusher = createPusher(session, { retry, timeouts, chunkBytes: options.chunkBytes, referrers });
    return {
      ...reader,
      ...pusher,
      tags: (repository, signal) => listTags(session, repository, limitMs, signal),
      referrers: referrers.referrers,
      async tag(repository, reference, tag, signal) {
        if (!isTag(tag)) throw stalled('InvalidReference', `${JSON.stringify(tag)} is no valid tag`);
        const descriptor = await reader.resolve(repository, reference, signal);
        return pusher.pushManifest(repository, tag, await readManifest(reader, repository, descriptor, signal), signal);
      },
      withCredentials: (given) => withSource(() => given),
      close: () => http.close(),
    };
  }

  return withSource(options.credentials ?? (() => undefined));
}
