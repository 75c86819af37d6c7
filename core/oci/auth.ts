import { createHash } from 'node:crypto';
import { stalled, transient } from '#core/domain/errors.ts';
import { field, parseJson, readAll } from './body.ts';
import type { Http } from './http.ts';
import type { RegistryCredentials } from './port.ts';
import { assertAnswered } from './status.ts';
import type { Challenge } from './www-authenticate.ts';

/** Token answers are small (oras caps them at the same size). */
const TOKEN_BODY_LIMIT = 128 * 1024;
/** distribution token spec: the lifetime where the answer names none. */
const DEFAULT_LIFETIME_S = 60;
/** A token is renewed after this part of its life, so that none runs out under way. */
const USED_LIFE = 0.8;
const MAX_CACHED = 1000;

/** Who asks for what: the key under which an answer is kept. */
export interface AuthContext {
  /** `host[:port]` of the registry, and its host name alone. */
  host: string;
  home: string;
  /** `repository:<name>:pull` or `…:pull,push`. */
  scope: string;
  credentials: RegistryCredentials | undefined;
}

export interface Authenticator {
  /** The Authorization header that worked before, if it still should. */
  remembered(context: AuthContext): string | undefined;
  /**
   * The Authorization header that answers a challenge; `rejected` is the one that was just refused.
   * @throws ReconcileError stalled SourceUnauthorized, or of the token server
   */
  answer(
    challenges: Challenge[],
    context: AuthContext,
    rejected: string | undefined,
    signal: AbortSignal,
  ): Promise<string>;
}

interface Entry {
  header: string;
  /** Epoch milliseconds. */
  expiresAt: number;
}

function keyOf(context: AuthContext): string {
  const { username, password } = context.credentials ?? { username: '', password: '' };
  const identity = createHash('sha256')
    .update(JSON.stringify([username, password]))
    .digest('base64');
  return JSON.stringify([context.host, context.scope, identity]);
}

function basicHeader({ username, password }: RegistryCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

function tokenUrl(challenge: Challenge, context: AuthContext): URL {
  const realm = challenge.params['realm'] ?? '';
  if (!URL.canParse(realm)) {
    throw stalled('SourceUnauthorized', `${context.host} asks for a token but names no valid token server`);
  }
  const url = new URL(realm);
  // user:password@ in a realm would be sent as credentials of its own
  url.username = '';
  url.password = '';
  const service = challenge.params['service'];
  if (service !== undefined) url.searchParams.set('service', service);
  const scopes = (challenge.params['scope'] ?? '').split(' ').filter((scope) => scope !== '');
  for (const scope of scopes.length > 0 ? scopes : [context.scope]) url.searchParams.append('scope', scope);
  url.searchParams.set('client_id', 'plumbline');
  return url;
}

/** GET flow of the distribution token specification (docs/content/spec/auth/token.md). */
async function fetchToken(http: Http, challenge: Challenge, context: AuthContext, limitMs: number): Promise<Entry> {
  const url = tokenUrl(challenge, context);
  const headers: Record<string, string> =
    context.credentials === undefined ? {} : { authorization: basicHeader(context.credentials) };
  const askedAt = Date.now();
  // Shared by every caller that waits for this token, so no single caller's signal may end it.
  const signal = AbortSignal.timeout(limitMs);
  const response = await http.send({ method: 'GET', url, headers, home: context.home, limitMs, signal });
  await assertAnswered(response, `the token server of ${context.host}`);
  const body = parseJson(await readAll(response, TOKEN_BODY_LIMIT, `the token of ${url.origin}`));
  const token = field(body, 'token') ?? field(body, 'access_token');
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw transient('SourceUnreachable', `${url.origin} answered a token request without a token`);
  }
  const seconds = Number(field(body, 'expires_in') ?? DEFAULT_LIFETIME_S);
  const lifetime = seconds > 0 ? seconds : DEFAULT_LIFETIME_S;
  return { header: `Bearer ${token}`, expiresAt: askedAt + lifetime * 1000 * USED_LIFE };
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Basic and Bearer authentication; one token request at a time per registry, scope and identity. */
export function createAuthenticator(http: Http, limitMs: number): Authenticator {
  const entries = new Map<string, Entry>();
  const flights = new Map<string, Promise<Entry>>();

  function remember(key: string, entry: Entry): void {
    entries.delete(key);
    entries.set(key, entry);
    const [oldest] = entries.keys();
    if (entries.size > MAX_CACHED && oldest !== undefined) entries.delete(oldest);
  }

  function bearer(key: string, challenge: Challenge, context: AuthContext): Promise<Entry> {
    const flying = flights.get(key);
    if (flying !== undefined) return flying;
    const flight = fetchToken(http, challenge, context, limitMs).finally(() => flights.delete(key));
    flights.set(key, flight);
    return flight;
  }

  return {
    remembered(context) {
      const entry = entries.get(keyOf(context));
      return entry !== undefined && entry.expiresAt > Date.now() ? entry.header : undefined;
    },
    async answer(challenges, context, rejected, signal) {
      const key = keyOf(context);
      const current = entries.get(key);
      if (current !== undefined && current.header !== rejected && current.expiresAt > Date.now()) return current.header;
      entries.delete(key);
      const challenge = challenges.find(({ scheme }) => scheme === 'bearer' || scheme === 'basic');
      if (challenge?.scheme === 'bearer') {
        const entry = await unlessAborted(bearer(key, challenge, context), signal);
        remember(key, entry);
        return entry.header;
      }
      if (challenge?.scheme === 'basic' && context.credentials !== undefined) {
        const header = basicHeader(context.credentials);
        if (header !== rejected) {
          remember(key, { header, expiresAt: Number.POSITIVE_INFINITY });
          return header;
        }
      }
      throw stalled('SourceUnauthorized', unauthorizedMessage(challenge, context));
    },
  };
}

function unauthorizedMessage(challenge: Challenge | undefined, context: AuthContext): string {
  const where = `${context.host} (${context.scope})`;
  if (challenge === undefined) return `${where} asks for a kind of authentication that is not supported`;
  if (context.credentials === undefined)
    return `${where} asks for credentials and none are set; see spec.source.credentials`;
  return `${where} refused the credentials; check the secret of spec.source.credentials`;
}
