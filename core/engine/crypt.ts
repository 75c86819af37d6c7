import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

/** The engine's own numbers: sdk/go/common/resource/config/crypt.go and pkg/secrets/passphrase. */
const ROUNDS = 1_000_000;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const SALT_BYTES = 8;
const TAG_BYTES = 16;
/** What the engine encrypts beside the salt, to tell a wrong passphrase. */
const CHECK_TEXT = 'pulumi';

const derive = promisify(pbkdf2);

function encryptWith(key: Buffer, text: string): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return `v1:${nonce.toString('base64')}:${sealed.toString('base64')}`;
}

/** A new `encryptionsalt` for Pulumi.<stack>.yaml, bound to `passphrase`. Takes about 0.2 s off the main thread. */
export async function newEncryptionSalt(passphrase: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const key = await derive(passphrase, salt, ROUNDS, KEY_BYTES, 'sha256');
  return `v1:${salt.toString('base64')}:${encryptWith(key, CHECK_TEXT)}`;
}

/** The salt inside an `encryptionsalt`. @throws Error when it is not one of the engine's. */
function saltOf(encryptionSalt: string): Buffer {
  const salt = encryptionSalt.split(':')[1];
  if (!encryptionSalt.startsWith('v1:') || salt === undefined)
    throw new Error('the encryption salt is not of the form v1:<salt>:…');
  return Buffer.from(salt, 'base64');
}

/**
 * Encrypts config values the way the engine decrypts them, with one derivation for all.
 * @throws Error when the salt is not one of ours.
 */
export async function encrypter(passphrase: string, encryptionSalt: string): Promise<(text: string) => string> {
  const key = await derive(passphrase, saltOf(encryptionSalt), ROUNDS, KEY_BYTES, 'sha256');
  return (text) => encryptWith(key, text);
}

/** Whether a passphrase is the one an `encryptionsalt` was made with. @throws Error when the salt is not one of the engine's. */
export async function opensSalt(passphrase: string, encryptionSalt: string): Promise<boolean> {
  const key = await derive(passphrase, saltOf(encryptionSalt), ROUNDS, KEY_BYTES, 'sha256');
  const [, , , nonce = '', sealed = ''] = encryptionSalt.split(':');
  const bytes = Buffer.from(sealed, 'base64');
  try {
    const options = { authTagLength: TAG_BYTES };
    const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64'), options);
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    const text = Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]);
    return text.toString('utf8') === CHECK_TEXT;
  } catch {
    return false;
  }
}
