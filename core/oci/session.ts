import { ReconcileError, stalled, transient } from '#core/domain/errors.ts';
import { apiHost, isDigest, type Repository } from '#core/domain/reference.ts';
import { refusalNote } from './auth-refusal.ts';
import { parseScopes } from './auth-scopes.ts';
import type { Authenticator } from './auth.ts';
import type { Http, HttpRequest, HttpResponse } from './http.ts';
import type { Mirrors } from './mirrors.ts';
import type { RegistryCredentials } from './port.ts';
import { assertAllowed, NO_REGISTRY_SETTINGS, type RegistrySettings } from './registries.ts';
import { withRetries, type RetryPolicy } from './retry.ts';
import { assertAnswered } from './status.ts';
import { parseChallenges } from './www-authenticate.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Credentials for a registry, asked for before every request; undefined: anonymous. */
export type CredentialSource = (
  host: string,
) => Promise<RegistryCredentials | undefined> | RegistryCredentials | undefined;

export interface SessionOptions {
  http: Http;
  authenticator: Authenticator;
  retry: RetryPolicy;
  plainHttpHosts: readonly string[];
  credentials: CredentialSource;
  /** Which registries may be used at all; any by default. */
  settings?: RegistrySettings;
  /** None by default. */
  mirrors?: Mirrors;
  /** Credentials for mirrors, which never get those of the registry; anonymous by default. */
  mirrorCredentials?: CredentialSource;
}

export interface SessionRequest {
  repository: Repository;
  method: HttpRequest['method'];
  /** Absolute, or a path at the registry of the repository. */
  target: string | URL;
  access: 'pull' | 'pull,push';
  headers?: Record<string, string>;
  body?: HttpRequest['body'];
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

/** Where a request is sent and who says so. */
interface Endpoint {
  base: URL;
  credentials: CredentialSource;
}

/** Where the API of a registry lives. */
function baseUrl(host: string, plainHttp: boolean): URL {
  return new URL(`${plainHttp ? 'http' : 'https'}://${apiHost(host)}/`);
}

/** `host/name:tag`, `host/name@digest`, or `host/name` where a request is about neither. */
function whatOf({ repository: { host, name }, target }: SessionRequest): string {
  const path = typeof target === 'string' ? target.split('?')[0]?.split('/') : undefined;
  const [kind = '', reference = ''] = path?.slice(-2) ?? [];
  if (isDigest(reference)) return `${host}/${name}@${reference}`;
  return kind === 'manifests' ? `${host}/${name}:${reference}` : `${host}/${name}`;
}

function nextHop(response: HttpResponse, what: string): URL {
  const location = response.header('location');
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    throw transient('SourceUnreachable', `${what}: ${response.url.host} redirected to nowhere (${response.status})`);
  }
  const next = new URL(location, response.url);
  if (response.url.protocol === 'https:' && next.protocol !== 'https:') {
    throw stalled(
      'InvalidReference',
      `${what}: refused a redirect of ${response.url.host} from https to ${next.protocol}//${next.host}`,
    );
  }
  return next;
}

/** Makes a session over one set of connections. */
export function createSession(options: SessionOptions): Session {
  const { http, authenticator, mirrors, settings = NO_REGISTRY_SETTINGS } = options;
  const { mirrorCredentials = () => undefined } = options;

  /** Follows redirects. The Authorization header never leaves the registry's origin, nor comes back once it was left. */
  async function follow(request: SessionRequest, base: URL, authorization: string | undefined): Promise<HttpResponse> {
    const { method, body, limitMs, signal } = request;
    const what = whatOf(request);
    let url = new URL(request.target, base);
    let home = url.origin === base.origin;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
      const headers = { ...request.headers, ...(home && authorization !== undefined ? { authorization } : {}) };
      const sent = { method, url, headers, home: base.host, what, limitMs, signal };
      const response = await http.send(body === undefined ? sent : { ...sent, body });
      if (!REDIRECTS.has(response.status) || (method !== 'GET' && method !== 'HEAD')) return response;
      await response.discard();
      url = nextHop(response, what);
      home &&= url.origin === base.origin;
    }
    throw transient('SourceUnreachable', `${what}: ${base.host} redirected more than ${MAX_REDIRECTS} times`);
  }

  /** With the header that worked before, and once more with an answer to the registry's own challenge. */
  async function authorized(request: SessionRequest, { base, credentials }: Endpoint): Promise<HttpResponse> {
    const { host, name } = request.repository;
    const scope = `repository:${name}:${request.access}`;
    const context = { host, home: base.host, scope, credentials: await credentials(host) };
    const remembered = authenticator.remembered(context);
    const first = await follow(request, base, remembered);
    const challenge = first.header('www-authenticate');
    const ours = first.url.origin === base.origin;
    if (first.status !== 401 || !ours || challenge === undefined) return explained(first, base, remembered, scope);
    await first.discard();
    const answer = await authenticator.answer(parseChallenges(challenge), context, remembered, request.signal);
    return explained(await follow(request, base, answer), base, answer, scope);
  }

  async function attempt(request: SessionRequest): Promise<HttpResponse> {
    const base = baseUrl(request.repository.host, options.plainHttpHosts.includes(request.repository.host));
    const response = await authorized(request, { base, credentials: options.credentials });
    const { status } = response;
    if (status === 408 || status === 429 || status >= 500) await assertAnswered(response, whatOf(request));
    return response;
  }

  /** The first good answer of a mirror, tried once each; what the others said, where there is none. */
  async function fromMirrors(request: SessionRequest): Promise<HttpResponse | string[]> {
    const failures: string[] = [];
    if (mirrors === undefined || request.access !== 'pull') return failures;
    for (const { repository, plainHttp, target } of mirrors.of(request.repository, request.target)) {
      const endpoint = { base: baseUrl(repository.host, plainHttp), credentials: mirrorCredentials };
      try {
        const response = await authorized({ ...request, repository, target }, endpoint);
        if (isGood(response, target)) return response;
        await response.discard();
        failures.push(`mirror ${repository.host} answered ${response.status}`);
      } catch (error) {
        if (!(error instanceof ReconcileError)) throw error;
        if (error.reason === 'SourceUnreachable') mirrors.rest(repository.host);
        failures.push(`mirror ${repository.host} failed: ${error.message}`);
      }
    }
    return failures;
  }

  return {
    async send(request) {
      assertAllowed(settings, request.repository);
      const mirrored = await fromMirrors(request);
      if (!Array.isArray(mirrored)) return mirrored;
      const ask = () => attempt(request);
      const response = await (request.retry === false ? ask() : withRetries(options.retry, request.signal, ask));
      const notes = [...(response.note === undefined ? [] : [response.note]), ...mirrored];
      return notes.length === 0 ? response : { ...response, note: notes.join('; ') };
    },
  };
}

/** A mirror must have the very content that was asked for. */
function isGood(response: HttpResponse, target: string): boolean {
  const [reference = ''] = target.split('/').slice(-1);
  const declared = response.header('docker-content-digest');
  if (isDigest(reference) && declared !== undefined && declared !== reference) return false;
  return response.status === 200 || response.status === 206;
}

/** A refusal of the registry itself, with what is known about why. */
function explained(response: HttpResponse, base: URL, authorization: string | undefined, scope: string): HttpResponse {
  const { status } = response;
  if ((status !== 401 && status !== 403) || response.url.origin !== base.origin) return response;
  return { ...response, note: refusalNote(authorization, parseScopes(scope)) };
}
