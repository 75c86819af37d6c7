import { createHash } from 'node:crypto';
import { stalled } from '#core/domain/errors.ts';
import { unlessAborted } from '#core/unless-aborted.ts';
import { covers, formatScopes, mergeScopes, parseScopes, type Scopes } from './auth-scopes.ts';
import { basicHeader, requestToken, type Authorization } from './auth-token.ts';
import type { Http } from './http.ts';
import type { RegistryCredentials } from './port.ts';
import type { Challenge } from './www-authenticate.ts';

/** Registries and identities whose tokens are kept, and tokens kept for each. */
const MAX_IDENTITIES = 1000;
const MAX_TOKENS = 100;

/** Who asks for what: the key under which an answer is kept. */
export interface AuthContext {
  /** `host[:port]` of the registry, and that of its API. */
  host: string;
  home: string;
  /** `repository:<name>:pull` or `…:pull,push`; several are separated by spaces. */
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

/** One registry and one identity there; the credentials themselves are no part of the key. */
function keyOf({ host, credentials }: AuthContext): string {
  const identity = createHash('sha256').update(JSON.stringify(credentials ?? {}));
  return JSON.stringify([host, identity.digest('base64')]);
}

/** Good for everything until it is refused. */
function lasting(header: string): Authorization {
  return { header, scopes: new Map(), expiresAt: Number.POSITIVE_INFINITY };
}

function serves(held: Authorization, wanted: Scopes): boolean {
  if (held.expiresAt === Number.POSITIVE_INFINITY) return true;
  return held.expiresAt > Date.now() && covers(held.scopes, wanted);
}

/** Headers that worked, by registry and identity: the oldest are forgotten first. */
function createMemory() {
  const held = new Map<string, Authorization[]>();
  return {
    find: (key: string, wanted: Scopes) => held.get(key)?.find((authorization) => serves(authorization, wanted)),
    forget(key: string, header: string | undefined) {
      const left = (held.get(key) ?? []).filter((authorization) => authorization.header !== header);
      if (left.length === 0) held.delete(key);
      else held.set(key, left);
    },
    keep(key: string, added: Authorization) {
      const others = (held.get(key) ?? []).filter(
        ({ scopes, expiresAt }) => expiresAt > Date.now() && !covers(added.scopes, scopes),
      );
      held.delete(key);
      held.set(key, [...others.slice(1 - MAX_TOKENS), added]);
      const [oldest] = held.keys();
      if (held.size > MAX_IDENTITIES && oldest !== undefined) held.delete(oldest);
    },
  };
}

/** A header that needs no token server; undefined where there is none for this challenge. */
function direct(scheme: string | undefined, credentials: RegistryCredentials | undefined): string | undefined {
  if (credentials === undefined) return undefined;
  if (scheme === 'bearer') return 'registryToken' in credentials ? `Bearer ${credentials.registryToken}` : undefined;
  return scheme === 'basic' && 'password' in credentials
    ? basicHeader(credentials.username, credentials.password)
    : undefined;
}

function unauthorizedMessage(challenge: Challenge | undefined, context: AuthContext): string {
  const where = `${context.host} (${context.scope})`;
  const { credentials } = context;
  if (challenge === undefined) return `${where} asks for a kind of authentication that is not supported`;
  if (credentials === undefined)
    return `${where} asks for credentials and none are set for exactly this host and port; see spec.source.credentials`;
  if (challenge.scheme === 'basic' && !('password' in credentials)) {
    return `${where} asks for a user and a password, the credentials hold a token; check the secret of spec.source.credentials`;
  }
  return `${where} refused the credentials; check the secret of spec.source.credentials`;
}

/**
 * Basic and Bearer authentication. A token is kept for 80 % of its life and serves every request within its scopes; one
 * token request at a time per registry, identity and merged scope.
 */
export function createAuthenticator(http: Http, limitMs: number): Authenticator {
  const memory = createMemory();
  const flights = new Map<string, Promise<Authorization>>();

  function bearer(key: string, challenge: Challenge, context: AuthContext): Promise<Authorization> {
    const scopes = mergeScopes(parseScopes(context.scope), parseScopes(challenge.params['scope'] ?? ''));
    const flightKey = JSON.stringify([key, formatScopes(scopes)]);
    const flying = flights.get(flightKey);
    if (flying !== undefined) return flying;
    const { home, credentials } = context;
    const what = `${context.host} (${context.scope})`;
    // Shared by every caller that waits for this token, so no single caller's signal may end it.
    const signal = AbortSignal.timeout(limitMs);
    const asked = { challenge, scopes, credentials, home, what, limitMs, signal };
    const flight = requestToken(http, asked).finally(() => flights.delete(flightKey));
    flights.set(flightKey, flight);
    return flight;
  }

  return {
    remembered: (context) => memory.find(keyOf(context), parseScopes(context.scope))?.header,
    async answer(challenges, context, rejected, signal) {
      // Before a request is made whose failure nobody would be left to take: it would end the process.
      signal.throwIfAborted();
      const key = keyOf(context);
      memory.forget(key, rejected);
      const renewed = memory.find(key, parseScopes(context.scope));
      if (renewed !== undefined) return renewed.header;
      const challenge =
        challenges.find(({ scheme }) => scheme === 'bearer') ?? challenges.find(({ scheme }) => scheme === 'basic');
      const { credentials } = context;
      const header = direct(challenge?.scheme, credentials);
      if (header !== undefined && header !== rejected) {
        memory.keep(key, lasting(header));
        return header;
      }
      if (challenge?.scheme === 'bearer' && header === undefined) {
        const token = await unlessAborted(bearer(key, challenge, context), signal);
        memory.keep(key, token);
        return token.header;
      }
      throw stalled('SourceUnauthorized', unauthorizedMessage(challenge, context));
    },
  };
}
