import { Readable } from 'node:stream';
import { request, type Dispatcher } from 'undici';
import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import { isAllowedHost, type Origin } from './address-guard.ts';
import { createConnections } from './connections.ts';
import { failedExchange } from './http-errors.ts';
import {
  entryOf,
  NO_REGISTRY_SETTINGS,
  plainHttpHosts as plainHttpHostsOf,
  type RegistrySettings,
} from './registries.ts';

/** All in milliseconds. */
export interface HttpTimeouts {
  /** TCP and TLS. */
  connect: number;
  /** From the request to the head of the answer. */
  headers: number;
  /** Between two chunks of a body. */
  idle: number;
  /** A whole request that is no blob. */
  total: number;
  /** A whole blob, up or down. */
  blob: number;
}

export const DEFAULT_TIMEOUTS: HttpTimeouts = {
  connect: 10_000,
  headers: 30_000,
  idle: 30_000,
  total: 60_000,
  blob: 900_000,
};

export interface HttpOptions {
  /** `host:port` of servers that may be spoken to by plain HTTP; but for those of `settings`, also by being named. */
  plainHttpHosts: readonly string[];
  /** `host[:port]` of servers in private networks that any registry may send us to: token servers, blob stores. */
  privateHosts: readonly string[];
  timeouts: HttpTimeouts;
  userAgent: string;
  /** What is set for single hosts: certificates, proxies, timeouts, private hosts. Nothing by default. */
  settings?: RegistrySettings;
}

/** Bytes, or what opens them anew for every attempt; the latter needs a `content-length` header. */
export type RequestBody = Buffer | (() => AsyncIterable<Uint8Array>);

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';
  url: URL;
  headers: Record<string, string>;
  body?: RequestBody;
  /** `host[:port]` of the configured registry; every other one counts as named by a stranger. */
  home: string;
  /** What is asked for, `host/name@digest`: starts the message of a failure. */
  what?: string;
  /** Upper limit of the whole exchange, body included. */
  limitMs: number;
  signal: AbortSignal;
}

export interface HttpResponse {
  url: URL;
  status: number;
  header(name: string): string | undefined;
  /** Ends, or throws ReconcileError SourceUnreachable; the caller's abort comes through as it is. */
  body: AsyncIterable<Uint8Array>;
  /** Why an answer is what it is, where more is known than its status says. */
  note?: string;
  /** Drops what is left of the body. */
  discard(): Promise<void>;
}

/** One exchange with a server: no redirect, no retry, no credentials of its own. */
export interface Http {
  /** @throws ReconcileError transient SourceUnreachable, stalled InvalidReference (a URL that may not be dialled) */
  send(request: HttpRequest): Promise<HttpResponse>;
  close(): Promise<void>;
}

/** Bytes of an unread answer worth reading to keep its connection. */
const DISCARD_LIMIT = 64 * 1024;

/**
 * Refuses what must not be dialled: plain HTTP to hosts nobody allowed, other schemes, user names in an address, and
 * addresses inside our network that were named by an answer (SSRF). Names are checked again when they are looked up.
 */
function assertDialable(sent: HttpRequest, origin: Origin, plainHttpHosts: ReadonlySet<string>): void {
  const { url } = sent;
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused(sent, 'its scheme is not https');
  if (url.username !== '' || url.password !== '') throw refused(sent, 'its address holds a user or a password');
  if (url.protocol === 'http:' && !plainHttpHosts.has(url.host)) {
    throw refused(sent, 'plain HTTP is off for it; use https or list it in PLUMBLINE_PLAIN_HTTP_REGISTRIES');
  }
  if (!isAllowedHost(url.hostname, origin)) {
    throw refused(
      sent,
      'the address is not a public one; where that is meant, list it in privateHosts of the registry',
    );
  }
}

function refused({ url, what }: HttpRequest, why: string): ReconcileError {
  const asked = what === undefined ? '' : `${what}: `;
  return stalled('InvalidReference', `${asked}refused to contact ${url.protocol}//${url.host}: ${why}`);
}

async function* readBody(body: AsyncIterable<Uint8Array>, sent: HttpRequest): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } catch (error) {
    throw failedExchange(error, sent);
  }
}

function toResponse(data: Dispatcher.ResponseData, sent: HttpRequest): HttpResponse {
  return {
    url: sent.url,
    status: data.statusCode,
    header(name) {
      const value = data.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    body: readBody(data.body, sent),
    async discard() {
      await data.body.dump({ limit: DISCARD_LIMIT }).catch(() => undefined);
    },
  };
}

/** Who named the host of a URL: a configured registry may send us anywhere public, and where its settings say. */
function originOf(sent: HttpRequest, known: ReadonlySet<string>, settings: RegistrySettings): Origin {
  if (sent.url.hostname === new URL(`https://${sent.home}`).hostname || known.has(sent.url.host)) return 'configured';
  return entryOf(settings, sent.home).privateHosts.includes(sent.url.host) ? 'configured' : 'foreign';
}

/** An HTTP client with its own connections, apart from the process-wide one of `fetch`. */
export function createHttp(options: HttpOptions): Http {
  const { timeouts, userAgent, settings = NO_REGISTRY_SETTINGS } = options;
  // `url.host` names no default port.
  const plainHttpHosts = new Set(options.plainHttpHosts.map((host) => host.replace(/:80$/, '')));
  // A mirror or a lab's registry is not to be dialled because another registry names it.
  const ofEntries = new Set(plainHttpHostsOf(settings));
  const known = new Set([...options.privateHosts, ...[...plainHttpHosts].filter((host) => !ofEntries.has(host))]);
  const connections = createConnections(settings, timeouts);
  return {
    async send(sent) {
      const origin = originOf(sent, known, settings);
      assertDialable(sent, origin, plainHttpHosts);
      sent.signal.throwIfAborted();
      const { body } = sent;
      try {
        const data = await request(sent.url, {
          method: sent.method,
          headers: { 'user-agent': userAgent, ...sent.headers },
          ...(body === undefined
            ? {}
            : { body: typeof body === 'function' ? Readable.from(body(), { objectMode: false }) : body }),
          signal: AbortSignal.any([sent.signal, AbortSignal.timeout(sent.limitMs)]),
          dispatcher: connections.dispatcher(sent.url, origin),
        });
        return toResponse(data, sent);
      } catch (error) {
        throw failedExchange(error, sent);
      }
    },
    close: () => connections.close(),
  };
}
