import { stalled, transient } from '#core/domain/errors.ts';
import { formatScopes, type Scopes } from './auth-scopes.ts';
import { field, parseJson, readAll } from './body.ts';
import type { Http, HttpRequest, HttpResponse } from './http.ts';
import type { RegistryCredentials } from './port.ts';
import { assertAnswered } from './status.ts';
import type { Challenge } from './www-authenticate.ts';

/** Token answers are small (oras caps them at the same size). */
const TOKEN_BODY_LIMIT = 128 * 1024;
/** distribution token spec: the lifetime where the answer names none. */
const DEFAULT_LIFETIME_S = 60;
/** A token is renewed after this part of its life, so that none runs out under way. */
const USED_LIFE = 0.8;
const CLIENT_ID = 'plumbline';
/** What docker calls the user of a refresh token. */
const TOKEN_USER = '<token>';

/** A header to send and how long it may be sent. */
export interface Authorization {
  header: string;
  scopes: Scopes;
  /** Epoch milliseconds. */
  expiresAt: number;
}

export interface TokenRequest {
  challenge: Challenge;
  scopes: Scopes;
  credentials: RegistryCredentials | undefined;
  /** `host[:port]` of the registry's API, and `host/name` for messages. */
  home: string;
  what: string;
  limitMs: number;
  signal: AbortSignal;
}

/** The Basic header (RFC 7617) of a user. */
export function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

function realmOf({ challenge, what }: TokenRequest): URL {
  const realm = challenge.params['realm'] ?? '';
  if (!URL.canParse(realm)) {
    throw stalled('SourceUnauthorized', `${what} asks for a token but names no valid token server`);
  }
  const url = new URL(realm);
  // user:password@ in a realm would be sent as credentials of its own
  url.username = '';
  url.password = '';
  return url;
}

function common({
  home,
  what,
  limitMs,
  signal,
}: TokenRequest): Pick<HttpRequest, 'home' | 'what' | 'limitMs' | 'signal'> {
  return { home, what: `a token for ${what}`, limitMs, signal };
}

/** GET flow (distribution docs/content/spec/auth/token.md). */
function get(http: Http, asked: TokenRequest): Promise<HttpResponse> {
  const url = realmOf(asked);
  const service = asked.challenge.params['service'];
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of formatScopes(asked.scopes)) url.searchParams.append('scope', scope);
  url.searchParams.set('client_id', CLIENT_ID);
  const { credentials } = asked;
  const headers: Record<string, string> = {};
  if (credentials !== undefined && 'password' in credentials) {
    headers['authorization'] = basicHeader(credentials.username, credentials.password);
  }
  if (credentials !== undefined && 'identityToken' in credentials) {
    headers['authorization'] = basicHeader(credentials.username ?? TOKEN_USER, credentials.identityToken);
  }
  return http.send({ ...common(asked), method: 'GET', url, headers });
}

/** OAuth2 flow (distribution docs/content/spec/auth/oauth.md): a refresh token, or user and password. */
function post(http: Http, asked: TokenRequest, grant: Record<string, string>): Promise<HttpResponse> {
  const service = asked.challenge.params['service'];
  const form = new URLSearchParams({
    ...grant,
    client_id: CLIENT_ID,
    scope: formatScopes(asked.scopes).join(' '),
    ...(service === undefined ? {} : { service }),
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  return http.send({
    ...common(asked),
    method: 'POST',
    url: realmOf(asked),
    headers,
    body: Buffer.from(form.toString()),
  });
}

/** A token server that does not know a method says one of these. */
function isUnknownMethod({ status }: HttpResponse): boolean {
  return status === 404 || status === 405;
}

async function exchange(http: Http, asked: TokenRequest): Promise<HttpResponse> {
  const { credentials } = asked;
  if (credentials !== undefined && 'identityToken' in credentials) {
    const grant = { grant_type: 'refresh_token', refresh_token: credentials.identityToken };
    const response = await post(http, asked, grant);
    if (!isUnknownMethod(response)) return response;
    await response.discard();
    return get(http, asked);
  }
  const response = await get(http, asked);
  if (credentials === undefined || !('password' in credentials) || !isUnknownMethod(response)) return response;
  await response.discard();
  const { username, password } = credentials;
  return post(http, asked, { grant_type: 'password', username, password });
}

/** Milliseconds a token lasts from now; one that the server has kept for a while is that much older. */
function lifetimeMs(body: unknown, response: HttpResponse): number {
  const seconds = Number(field(body, 'expires_in') ?? DEFAULT_LIFETIME_S);
  const lifetime = (seconds > 0 ? seconds : DEFAULT_LIFETIME_S) * 1000;
  // Both times are of the server's clock, so that ours may differ.
  const age = Date.parse(response.header('date') ?? '') - Date.parse(String(field(body, 'issued_at')));
  return age > 0 && age < lifetime ? lifetime - age : lifetime;
}

/** RFC 6749, section 5.2: 400 is how a token server refuses a grant. */
async function assertGranted(response: HttpResponse, what: string): Promise<void> {
  if (response.status !== 400) return assertAnswered(response, what);
  const error = field(parseJson(await readAll(response, TOKEN_BODY_LIMIT, what)), 'error');
  const detail = typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? ` (${error})` : '';
  throw stalled('SourceUnauthorized', `${what} refused the credentials${detail}; check spec.source.credentials`);
}

/**
 * Asks the token server of a Bearer challenge. Fewer rights than asked for are no error here: the registry says so.
 * @throws ReconcileError SourceUnauthorized | SourceUnreachable | InvalidReference (a token server that may not be dialled)
 */
export async function requestToken(http: Http, asked: TokenRequest): Promise<Authorization> {
  const askedAt = Date.now();
  const response = await exchange(http, asked);
  const server = `the token server ${response.url.host} of ${asked.what}`;
  await assertGranted(response, server);
  const body = parseJson(await readAll(response, TOKEN_BODY_LIMIT, `the answer of ${server}`));
  const token = field(body, 'token') ?? field(body, 'access_token');
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw transient('SourceUnreachable', `${server} answered without a token`);
  }
  const expiresAt = askedAt + lifetimeMs(body, response) * USED_LIFE;
  return { header: `Bearer ${token}`, scopes: asked.scopes, expiresAt };
}
