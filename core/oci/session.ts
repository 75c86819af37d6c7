import { stalled, transient } from '#core/domain/errors.ts';
import { apiHost, type Repository } from '#core/domain/reference.ts';
import type { Authenticator } from './auth.ts';
import type { Http, HttpRequest, HttpResponse, RequestBody } from './http.ts';
import type { RegistryCredentials } from './port.ts';
import { withRetries, type RetryPolicy } from './retry.ts';
import { assertAnswered } from './status.ts';
import { parseChallenges } from './www-authenticate.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

export interface SessionOptions {
  http: Http;
  authenticator: Authenticator;
  retry: RetryPolicy;
  plainHttpHosts: readonly string[];
  /** Credentials for a registry, asked for before every request. */
  credentials(host: string): Promise<RegistryCredentials | undefined> | RegistryCredentials | undefined;
}

export interface SessionRequest {
  repository: Repository;
  method: HttpRequest['method'];
  /** Absolute, or a path at the registry of the repository. */
  target: string | URL;
  access: 'pull' | 'pull,push';
  headers?: Record<string, string>;
  body?: RequestBody;
  limitMs: number;
  /** Off for requests that cannot be repeated as they are. */
  retry?: boolean;
  signal: AbortSignal;
}

/** Requests to registries, authenticated, redirected and retried; every other status comes back to the caller. */
export interface Session {
  /** @throws ReconcileError SourceUnreachable | SourceUnauthorized | InvalidReference */
  send(request: SessionRequest): Promise<HttpResponse>;
}

/** Where the API of a registry lives. */
function baseUrl(host: string, plainHttpHosts: readonly string[]): URL {
  return new URL(`${plainHttpHosts.includes(host) ? 'http' : 'https'}://${apiHost(host)}/`);
}

function nextHop(response: HttpResponse): URL {
  const location = response.header('location');
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    throw transient('SourceUnreachable', `${response.url.origin} redirected to nowhere (${response.status})`);
  }
  const next = new URL(location, response.url);
  if (response.url.protocol === 'https:' && next.protocol !== 'https:') {
    throw stalled('InvalidReference', `refused a redirect of ${response.url.origin} from https to ${next.origin}`);
  }
  return next;
}

/** Makes a session over one set of connections. */
export function createSession(options: SessionOptions): Session {
  const { http, authenticator } = options;

  /** Follows redirects. The Authorization header never leaves the registry's origin, nor comes back once it was left. */
  async function follow(request: SessionRequest, base: URL, authorization: string | undefined): Promise<HttpResponse> {
    let url = new URL(request.target, base);
    let home = url.origin === base.origin;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
      const headers = { ...request.headers, ...(home && authorization !== undefined ? { authorization } : {}) };
      const { method, body, limitMs, signal } = request;
      const sent = {
        method,
        url,
        headers,
        home: base.hostname,
        limitMs,
        signal,
        ...(body === undefined ? {} : { body }),
      };
      const response = await http.send(sent);
      if (!REDIRECTS.has(response.status) || (method !== 'GET' && method !== 'HEAD')) return response;
      await response.discard();
      url = nextHop(response);
      home &&= url.origin === base.origin;
    }
    throw transient('SourceUnreachable', `${base.origin} redirected more than ${MAX_REDIRECTS} times`);
  }

  /** One attempt: with the header that worked before, and once more with an answer to the registry's own challenge. */
  async function authorized(request: SessionRequest): Promise<HttpResponse> {
    const { host, name } = request.repository;
    const base = baseUrl(host, options.plainHttpHosts);
    const credentials = await options.credentials(host);
    const context = { host, home: base.hostname, scope: `repository:${name}:${request.access}`, credentials };
    const remembered = authenticator.remembered(context);
    const first = await follow(request, base, remembered);
    const challenge = first.header('www-authenticate');
    if (first.status !== 401 || first.url.origin !== base.origin || challenge === undefined) return first;
    await first.discard();
    const answer = await authenticator.answer(parseChallenges(challenge), context, remembered, request.signal);
    return follow(request, base, answer);
  }

  async function attempt(request: SessionRequest): Promise<HttpResponse> {
    const response = await authorized(request);
    const { status } = response;
    if (status === 408 || status === 429 || status >= 500) {
      await assertAnswered(response, `${request.method} ${response.url.origin}${response.url.pathname}`);
    }
    return response;
  }

  return {
    send(request) {
      if (request.retry === false) return attempt(request);
      return withRetries(options.retry, request.signal, () => attempt(request));
    },
  };
}
