import type { KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';

/** The algorithm every cloud takes: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, 3.3). */
export const ALGORITHM = 'RS256';

/** The least that clouds take. */
export const MODULUS_BITS = 2048;

/** A key that signs tokens; its private half never leaves it. */
export interface SigningKey {
  kid: string;
  /** RS256 over the bytes. */
  sign(data: Buffer, signal: AbortSignal): Promise<Buffer>;
}

/** The keys of the issuer, in whatever keeps them. */
export interface KeyRing {
  /** The key that signs at this time (milliseconds since 1970). */
  signing(now: number): Promise<SigningKey>;
  /** The public halves of every key whose tokens may be about, or soon will be. */
  published(now: number): Promise<JWK[]>;
}

/** A public key as it is published, with its RFC 7638 thumbprint as `kid`. */
export async function publicJwk(key: KeyObject): Promise<JWK & { kid: string }> {
  const { kty = '', n = '', e = '' } = key.export({ format: 'jwk' });
  return { kty, n, e, use: 'sig', alg: ALGORITHM, kid: await calculateJwkThumbprint({ kty, n, e }) };
}
