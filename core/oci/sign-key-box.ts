import { randomBytes, scrypt } from 'node:crypto';
import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { stalled } from '#core/domain/errors.ts';
import { parseJson } from './body.ts';

/** PEM labels of cosign's private keys, newer and older (sigstore/cosign pkg/cosign/keys.go). */
const SIGSTORE_LABEL = 'ENCRYPTED SIGSTORE PRIVATE KEY';
const BOX = /-----BEGIN ENCRYPTED (SIGSTORE|COSIGN) PRIVATE KEY-----([^-]*)-----END ENCRYPTED \1 PRIVATE KEY-----/;

/** As go-securesystemslib writes it today; it reads nothing weaker than N = 32768, and neither do we. */
const COST = { N: 65_536, r: 8, p: 1 };
const SALT_BYTES = 32;
const KEY_BYTES = 32;
const NONCE_BYTES = 24;

/** JSON inside the PEM (secure-systems-lab/go-securesystemslib encrypted/encrypted.go). The caps keep memory at 256 MiB. */
const Box = Type.Object({
  kdf: Type.Object({
    name: Type.Literal('scrypt'),
    params: Type.Object({
      N: Type.Union([32_768, 65_536, 131_072, 262_144].map((cost) => Type.Literal(cost))),
      r: Type.Literal(8),
      p: Type.Literal(1),
    }),
    salt: Type.String({ minLength: 1, maxLength: 256 }),
  }),
  cipher: Type.Object({ name: Type.Literal('nacl/secretbox'), nonce: Type.String({ maxLength: 64 }) }),
  ciphertext: Type.String({ maxLength: 65_536 }),
});

function deriveKey(password: string, salt: Buffer, cost: typeof COST): Promise<Buffer> {
  // OpenSSL counts a little more than the 128 * N * r bytes of RFC 7914.
  const options = { ...cost, maxmem: 256 * cost.N * cost.r };
  return new Promise((resolve, reject) => {
    scrypt(password, salt, KEY_BYTES, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

async function secretBox(key: Uint8Array, nonce: Uint8Array) {
  const { xsalsa20poly1305 } = await import('@noble/ciphers/salsa.js');
  return xsalsa20poly1305(key, nonce);
}

/** Whether a PEM is a private key as cosign keeps it. */
export function isKeyBox(pem: string): boolean {
  return BOX.test(pem);
}

/**
 * Opens a private key as cosign keeps it: PKCS #8 DER.
 * @throws ReconcileError stalled SpecInvalid
 */
export async function openKeyBox(pem: string, password: string): Promise<Buffer> {
  const value = parseJson(Buffer.from(BOX.exec(pem)?.[2] ?? '', 'base64'));
  if (!Value.Check(Box, value)) {
    throw stalled('SpecInvalid', 'the private key is no key of cosign that can be read: scrypt and nacl/secretbox');
  }
  const { kdf, cipher, ciphertext } = value;
  const nonce = Buffer.from(cipher.nonce, 'base64');
  if (nonce.byteLength !== NONCE_BYTES)
    throw stalled('SpecInvalid', 'the private key of cosign has a nonce of another length');
  const key = await deriveKey(password, Buffer.from(kdf.salt, 'base64'), kdf.params);
  const box = await secretBox(key, nonce);
  try {
    return Buffer.from(box.decrypt(Buffer.from(ciphertext, 'base64')));
  } catch (error) {
    throw stalled(
      'SpecInvalid',
      'the private key does not open: its password is another, or the file was changed',
      error,
    );
  }
}

/** Closes a private key, PKCS #8 DER, so that cosign opens it too. */
export async function sealKeyBox(pkcs8: Uint8Array, password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const nonce = randomBytes(NONCE_BYTES);
  const box = await secretBox(await deriveKey(password, salt, COST), nonce);
  const json = JSON.stringify({
    kdf: { name: 'scrypt', params: COST, salt: salt.toString('base64') },
    cipher: { name: 'nacl/secretbox', nonce: nonce.toString('base64') },
    ciphertext: Buffer.from(box.encrypt(pkcs8)).toString('base64'),
  });
  const lines =
    Buffer.from(json)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${SIGSTORE_LABEL}-----\n${lines.join('\n')}\n-----END ${SIGSTORE_LABEL}-----\n`;
}
