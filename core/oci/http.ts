import { Readable } from 'node:stream';
import { Agent, request, type Dispatcher } from 'undici';
import { ReconcileError, stalled, transient } from '#core/domain/errors.ts';
import { guardedLookup, isAllowedHost } from './address-guard.ts';

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
  /** `host:port` of servers that may be spoken to by plain HTTP. */
  plainHttpHosts: readonly string[];
  /** `host[:port]` of servers in private networks that a registry may send us to: token servers, blob stores. */
  privateHosts: readonly string[];
  timeouts: HttpTimeouts;
  userAgent: string;
}

export type RequestBody = Buffer | (() => AsyncIterable<Uint8Array>);

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH';
  url: URL;
  headers: Record<string, string>;
  /** A function is called anew for every attempt; its length belongs into the headers. */
  body?: RequestBody;
  /** Host name of the configured registry; every other one counts as named by a stranger. */
  home: string;
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
 * Refuses what must not be dialled: plain HTTP to hosts nobody allowed, other schemes, and addresses inside our network
 * that were named by an answer (SSRF). Names are checked again when they are looked up.
 */
function assertDialable(url: URL, foreign: boolean, plainHttpHosts: readonly string[]): void {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refused(url, 'its scheme is not https');
  if (url.protocol === 'http:' && !plainHttpHosts.includes(url.host)) {
    throw refused(url, 'plain HTTP is off for it; use https or list it in PLUMBLINE_PLAIN_HTTP_REGISTRIES');
  }
  if (!isAllowedHost(url.hostname, foreign ? 'foreign' : 'configured')) {
    throw refused(url, 'the address is not a public one and it was not configured');
  }
}

function refused(url: URL, why: string): ReconcileError {
  return stalled('InvalidReference', `refused to contact ${url.origin}: ${why}`);
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** OpenSSL's code for an answer that is no TLS at all. */
const NO_TLS = 'ERR_SSL_WRONG_VERSION_NUMBER';

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (codeOf(error) === NO_TLS || error.message.includes('wrong version number')) {
    return 'it does not speak HTTPS (wrong version number); if plain HTTP is meant, list it in PLUMBLINE_PLAIN_HTTP_REGISTRIES';
  }
  return error.message === '' ? (codeOf(error) ?? error.name) : error.message;
}

/** Tells our own limit and network failures from the caller's abort, which is thrown on unchanged. */
function translate(error: unknown, sent: HttpRequest): unknown {
  if (sent.signal.aborted) return sent.signal.reason;
  // What is sent may come from another registry, whose own error is the one to tell.
  if (error instanceof ReconcileError) return error;
  const limit = error instanceof Error && error.name === 'TimeoutError';
  const why = limit ? `no complete answer within ${sent.limitMs / 1000} s` : describe(error);
  return transient('SourceUnreachable', `${sent.method} ${sent.url.origin}${sent.url.pathname} failed: ${why}`, error);
}

async function* readBody(body: AsyncIterable<Uint8Array>, sent: HttpRequest): AsyncGenerator<Uint8Array, void> {
  try {
    yield* body;
  } catch (error) {
    throw translate(error, sent);
  }
}

/** A stream rather than an iterable: undici ends it also when the request never gets as far as its body. */
function readable(body: RequestBody): Buffer | Readable {
  return typeof body === 'function' ? Readable.from(body(), { objectMode: false }) : body;
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

/** An HTTP client with its own connections, apart from the process-wide one of `fetch`. */
export function createHttp(options: HttpOptions): Http {
  const { timeouts, plainHttpHosts, userAgent } = options;
  const limits = { headersTimeout: timeouts.headers, bodyTimeout: timeouts.idle };
  const configured = new Agent({
    ...limits,
    connect: { timeout: timeouts.connect, lookup: guardedLookup('configured') },
  });
  const strangers = new Agent({ ...limits, connect: { timeout: timeouts.connect, lookup: guardedLookup('foreign') } });
  const known = new Set([...plainHttpHosts, ...options.privateHosts]);
  return {
    async send(sent) {
      const foreign = sent.url.hostname !== sent.home && !known.has(sent.url.host);
      assertDialable(sent.url, foreign, plainHttpHosts);
      sent.signal.throwIfAborted();
      try {
        const data = await request(sent.url, {
          method: sent.method,
          headers: { 'user-agent': userAgent, ...sent.headers },
          ...(sent.body === undefined ? {} : { body: readable(sent.body) }),
          signal: AbortSignal.any([sent.signal, AbortSignal.timeout(sent.limitMs)]),
          dispatcher: foreign ? strangers : configured,
        });
        return toResponse(data, sent);
      } catch (error) {
        throw translate(error, sent);
      }
    },
    async close() {
      await Promise.all([configured.destroy(), strangers.destroy()]);
    },
  };
}
