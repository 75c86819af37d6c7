import { constants, createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';
import { stalled } from '#core/domain/errors.ts';

/** A public key whose signatures count. */
export interface TrustedKey {
  /** Name of the secret it comes from. */
  name: string;
  key: KeyObject;
  /** base64(sha256(DER SPKI)): what cosign writes as the hint of a bundle. */
  hint: string;
}

const PEM_BLOCK = /-----BEGIN (?:RSA )?PUBLIC KEY-----[^-]*-----END (?:RSA )?PUBLIC KEY-----/g;
const MAX_KEYS = 20;

/**
 * Hashes by curve: the one of sigstore's registry of algorithms first, then SHA-256, which older cosign used with every
 * curve. The key decides, never what is attached: so no signature chooses its own algorithm.
 */
const EC_HASHES: Readonly<Record<string, readonly string[]>> = {
  prime256v1: ['sha256'],
  secp384r1: ['sha384', 'sha256'],
  secp521r1: ['sha512', 'sha256'],
};
const RSA_HASHES = ['sha256', 'sha384', 'sha512'] as const;
const MIN_RSA_BITS = 2048;

/** Hashes a key may sign with; undefined for a key of a kind that is not trusted. */
function hashesOf(key: KeyObject): readonly (string | null)[] | undefined {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ec':
      return EC_HASHES[namedCurve];
    case 'rsa':
      return modulusLength >= MIN_RSA_BITS ? RSA_HASHES : undefined;
    case 'ed25519':
      return [null];
    default:
      return undefined;
  }
}

/** base64(sha256(DER SPKI)) of a public key. */
export function hintOf(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('base64');
}

function readKey(name: string, pem: string): TrustedKey {
  const key = (() => {
    try {
      return createPublicKey(pem);
    } catch (error) {
      throw stalled('SpecInvalid', `${name} holds a public key that cannot be read`, error);
    }
  })();
  if (hashesOf(key) === undefined) {
    throw stalled(
      'SpecInvalid',
      `${name} holds a key that is not P-256, P-384, P-521, Ed25519 or RSA of 2048 bits or more`,
    );
  }
  return { name, key, hint: hintOf(key) };
}

/**
 * Reads the public keys of a secret or file, PEM; each counts by itself.
 * @throws ReconcileError stalled SpecInvalid
 */
export function readPublicKeys({ name, pem }: { name: string; pem: string }): TrustedKey[] {
  const blocks = pem.match(PEM_BLOCK) ?? [];
  if (blocks.length === 0) {
    throw stalled('SpecInvalid', `${name} holds no public key (PEM, such as cosign.pub)`);
  }
  if (blocks.length > MAX_KEYS) throw stalled('SpecInvalid', `${name} holds more than ${MAX_KEYS} public keys`);
  return blocks.map((block) => readKey(name, block));
}

/** Whether the key signed the bytes: ECDSA (DER), RSA PKCS #1 v1.5 or pure Ed25519, as cosign does. */
export function verifyBytes(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  const how = key.asymmetricKeyType === 'rsa' ? { key, padding: constants.RSA_PKCS1_PADDING } : key;
  return (hashesOf(key) ?? []).some((hash) => {
    try {
      return verify(hash, bytes, how, signature);
    } catch {
      // A signature that is no DER.
      return false;
    }
  });
}
