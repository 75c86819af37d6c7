import { stalled, transient } from '#core/domain/errors.ts';
import { isDigest } from '#core/domain/reference.ts';
import { refusalNote } from './auth-refusal.ts';
import { parseScopes } from './auth-scopes.ts';
import type { Authenticator } from './auth.ts';
import type { Http, HttpResponse } from './http.ts';
import type { CredentialSource, SessionRequest } from './session.ts';
import { parseChallenges } from './www-authenticate.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Where a request is sent, and the credentials that count there. */
export interface Endpoint {
  base: URL;
  credentials: CredentialSource;
}

/** One request to one endpoint: redirected and authenticated, not retried. */
export type Exchange = (request: SessionRequest, endpoint: Endpoint) => Promise<HttpResponse>;

/** `host/name:tag`, `host/name@digest`, or `host/name` where a request is about neither. */
export function whatOf({ repository: { host, name }, target }: SessionRequest): string {
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

/** A refusal of the registry itself, with what is known about why. */
function explained(response: HttpResponse, base: URL, authorization: string | undefined, scope: string): HttpResponse {
  const { status } = response;
  if ((status !== 401 && status !== 403) || response.url.origin !== base.origin) return response;
  return { ...response, note: refusalNote(authorization, parseScopes(scope)) };
}

/** Makes the exchanges of one set of connections. */
export function createExchange(http: Http, authenticator: Authenticator): Exchange {
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
  return async (request, { base, credentials }) => {
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
  };
}
