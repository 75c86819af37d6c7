import { createHmac, hkdfSync, randomUUID, timingSafeEqual } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { PHASES } from '../domain/credential.ts';
import { closed, oneOf } from '../domain/manifest-parts.ts';
import { canonicalJson } from '../domain/plan.ts';
import { open, seal, type MasterKey } from '../secrets.ts';
import { LANES } from '../store/schema.ts';

/** Where the service mints tokens for workers; no part of the public API. */
export const TOKEN_PATH = '/internal/v1/identity-token';

/** How far the time of a request may be from that of the database, in milliseconds. */
export const REQUEST_LIFE_MS = 60_000;

const Id = Type.String({ pattern: '^[0-9]{1,19}$' });

/** What a worker asks: a token of a phase for the run it works on, under the lease it holds. */
export const TokenRequest = Type.Object(
  {
    stackId: Id,
    lane: oneOf(LANES),
    fence: Type.Integer({ minimum: 1 }),
    workerId: Type.String({ minLength: 1, maxLength: 256 }),
    runId: Id,
    phase: oneOf(PHASES),
    /** Milliseconds since 1970, by the clock of the database. */
    time: Type.Integer({ minimum: 0 }),
    nonce: Type.String({ pattern: '^[0-9a-f-]{36}$' }),
  },
  closed,
);
export type TokenRequest = Static<typeof TokenRequest>;

/** A request as it is sent. */
export const SignedTokenRequest = Type.Object(
  { request: TokenRequest, signature: Type.String({ pattern: '^[0-9a-f]{64}$' }) },
  closed,
);
export type SignedTokenRequest = Static<typeof SignedTokenRequest>;

/** The token, sealed: who reads the answer on its way, or gets it by a copied request, has nothing. */
export const SealedToken = Type.Object({
  token: Type.String({ maxLength: 16_384, description: 'base64 of the sealed token' }),
  expiresAt: Type.String({ format: 'date-time' }),
});
export type SealedToken = Static<typeof SealedToken>;

/** Both processes have the master key; requests are signed with a key of their own that is derived from it. */
function signatureOf(key: MasterKey, request: TokenRequest): Buffer {
  const derived = hkdfSync('sha256', key.master, '', `plumbline ${TOKEN_PATH}`, 32);
  return createHmac('sha256', Buffer.from(derived)).update(canonicalJson(request)).digest();
}

/** Completes and signs a request. `now` is the time of the database. */
export function signTokenRequest(
  key: MasterKey,
  wanted: Omit<TokenRequest, 'time' | 'nonce'>,
  now: Date,
): SignedTokenRequest {
  const request = { ...wanted, time: now.getTime(), nonce: randomUUID() };
  return { request, signature: signatureOf(key, request).toString('hex') };
}

/** Whether somebody with the master key made the request. */
export function isSignedTokenRequest(key: MasterKey, { request, signature }: SignedTokenRequest): boolean {
  const given = Buffer.from(signature, 'hex');
  const right = signatureOf(key, request);
  return given.length === right.length && timingSafeEqual(given, right);
}

function contextOf(nonce: string): string {
  return `identity-token/${nonce}`;
}

/** Seals a token for the one who asked with this nonce. */
export function sealToken(key: MasterKey, nonce: string, token: string): string {
  return seal(key, token, contextOf(nonce)).toString('base64');
}

/** Opens what `sealToken` made. @throws Error naming the context */
export function openToken(key: MasterKey, nonce: string, sealed: string): string {
  return open(key, Buffer.from(sealed, 'base64'), contextOf(nonce)).toString('utf8');
}
