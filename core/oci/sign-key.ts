import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { stalled } from '#core/domain/errors.ts';
import { isKeyBox, openKeyBox, sealKeyBox } from './sign-key-box.ts';

/** Kinds of keys that can be made. */
export type KeyKind = 'p256' | 'p384' | 'ed25519';

/** The hash of sigstore's registry of algorithms for a key; undefined for a key we do not sign with. */
function hashOf(key: KeyObject): string | null | undefined {
  if (key.asymmetricKeyType === 'ed25519') return null;
  if (key.asymmetricKeyType !== 'ec') return undefined;
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === 'prime256v1') return 'sha256';
  return curve === 'secp384r1' ? 'sha384' : undefined;
}

function wrongKind() {
  return stalled('SpecInvalid', 'the private key is not P-256, P-384 or Ed25519; make one with `plumb keygen`');
}

/**
 * Reads a private key: PKCS #8 PEM, plain or encrypted, or a key of cosign. The message never holds the password.
 * @throws ReconcileError stalled SpecInvalid
 */
export async function readSigningKey(pem: string, password?: string): Promise<KeyObject> {
  const key = isKeyBox(pem)
    ? createPrivateKey({ key: await openKeyBox(pem, password ?? ''), format: 'der', type: 'pkcs8' })
    : readPem(pem, password);
  if (hashOf(key) === undefined) throw wrongKind();
  return key;
}

function readPem(pem: string, password: string | undefined): KeyObject {
  const encrypted = pem.includes('-----BEGIN ENCRYPTED PRIVATE KEY-----');
  if (encrypted && (password === undefined || password === '')) {
    throw stalled('SpecInvalid', 'the private key is encrypted and no password was given');
  }
  try {
    return createPrivateKey(encrypted ? { key: pem, passphrase: password } : pem);
  } catch (error) {
    const why = encrypted ? 'does not open: its password is another, or the file was changed' : 'cannot be read (PEM)';
    throw stalled('SpecInvalid', `the private key ${why}`, error);
  }
}

/** Signs bytes the way cosign does with this kind of key. @throws ReconcileError stalled SpecInvalid for another kind */
export function signBytes(key: KeyObject, bytes: Uint8Array): Buffer {
  const hash = hashOf(key);
  if (hash === undefined) throw wrongKind();
  return sign(hash, bytes, key);
}

/** A new pair, PEM. */
export interface KeyPair {
  privateKey: string;
  publicKey: string;
}

function generate(kind: KeyKind): KeyObject {
  switch (kind) {
    case 'p256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    case 'p384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey;
  }
}

/** Makes a key pair; with a password the private key is closed as cosign does it, else it is plain PKCS #8. */
export async function createKeyPair(options: { kind?: KeyKind; password?: string } = {}): Promise<KeyPair> {
  const { kind = 'p256', password = '' } = options;
  const key = generate(kind);
  const privateKey =
    password === ''
      ? key.export({ type: 'pkcs8', format: 'pem' }).toString()
      : await sealKeyBox(key.export({ type: 'pkcs8', format: 'der' }), password);
  return { privateKey, publicKey: publicKeyOf(key) };
}

/** The public half of a private key, PEM. */
export function publicKeyOf(key: KeyObject): string {
  return createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
}
