import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { mkdir, readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { ConfigError } from './config.ts';
import { makePrivateFile } from './private-file.ts';
import { sealContext } from './seal-context.ts';

/** The key that seals everything secret in the database. A KeyObject, so that printing it shows nothing. */
export interface MasterKey {
  readonly master: KeyObject;
}

/** A tenant's key for HMACs in plan digests. */
export interface TenantKey {
  readonly hmac: KeyObject;
}

const KEY_BYTES = 32;
/** First byte of what is sealed: by the master key itself (until 0.1), or by a key of its own in an envelope. */
const DIRECT = 1;
const ENVELOPE = 2;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const BOX_BYTES = NONCE_BYTES + TAG_BYTES;
/** Format, and the key of the content sealed by the master key. */
const ENVELOPE_BYTES = 1 + BOX_BYTES + KEY_BYTES;

/** The real path of a file or folder that may not exist yet: its existing parents are resolved. */
async function realPathOf(path: string): Promise<string> {
  const found = await realpath(path).catch(() => undefined);
  if (found !== undefined) return found;
  const parent = dirname(path);
  return parent === path ? path : join(await realPathOf(parent), relative(parent, path));
}

async function refuseInside(file: string, dataDir: string): Promise<void> {
  const way = relative(await realPathOf(resolve(dataDir)), await realPathOf(file));
  const outside = way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way);
  if (outside) return;
  throw new ConfigError(
    `the key file ${file} lies inside the data folder ${dataDir}: a copy of the data would hold its key. Set PLUMBLINE_KEY_FILE to a path outside`,
  );
}

async function makeKeyFile(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await makePrivateFile(file, randomBytes(KEY_BYTES));
}

/**
 * Reads the master key, and makes it at the first start.
 * @throws ConfigError when the file lies inside the data folder, can be read by others, or does not hold 32 bytes.
 */
export async function loadMasterKey(keyFile: string, dataDir: string): Promise<MasterKey> {
  const file = resolve(keyFile);
  await refuseInside(file, dataDir);
  const found = await stat(file).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new ConfigError(`the key file ${file} cannot be reached; see PLUMBLINE_KEY_FILE`, { cause: error });
  });
  if (found === undefined) await makeKeyFile(file);
  const mode = (found ?? (await stat(file))).mode & 0o777;
  if ((mode & 0o077) !== 0) {
    throw new ConfigError(`the key file ${file} has mode ${mode.toString(8)}, so others can read it: chmod 600 it`);
  }
  const bytes = await readFile(file);
  if (bytes.length !== KEY_BYTES) {
    throw new ConfigError(
      `the key file ${file} holds ${bytes.length} bytes, not ${KEY_BYTES}: restore the one this installation was made with`,
    );
  }
  const master = createSecretKey(bytes);
  bytes.fill(0);
  return { master };
}

/** AES-256-GCM under one key: nonce, tag, ciphertext. */
function encrypt(key: KeyObject, plaintext: Buffer | string, context: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), body]);
}

/** Undefined when the key is another one, or anything was changed. */
function decrypt(key: KeyObject, sealed: Buffer, context: string): Buffer | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(NONCE_BYTES, BOX_BYTES));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(BOX_BYTES)), decipher.final()]);
  } catch {
    return undefined;
  }
}

/**
 * Seals in an envelope: a fresh key for the content, sealed by the master key, so that another master key can take over
 * without touching the content (`rewrap`). `context` names the place of the result (`secret/<tenant>/<name>`); it is
 * authenticated, so a row copied to another place does not open.
 */
export function seal(key: MasterKey, plaintext: Buffer | string, context: string): Buffer {
  const own = randomBytes(KEY_BYTES);
  const envelope = encrypt(key.master, own, envelopeContext(context));
  const body = encrypt(createSecretKey(own), plaintext, context);
  own.fill(0);
  return Buffer.concat([Buffer.from([ENVELOPE]), envelope, body]);
}

/** The content key and the content have contexts of their own, so that neither passes for the other. */
function envelopeContext(context: string): string {
  return `key/${context}`;
}

/** Whether this master key opens it. Rows of before the envelope (format 1) are sealed by the master key itself. */
export function isSealedBy(key: MasterKey, sealed: Buffer, context: string): boolean {
  if (sealed[0] === ENVELOPE) return contentKey(key, sealed, context) !== undefined;
  return sealed[0] === DIRECT && decrypt(key.master, sealed.subarray(1), context) !== undefined;
}

function contentKey(key: MasterKey, sealed: Buffer, context: string): KeyObject | undefined {
  const own = decrypt(key.master, sealed.subarray(1, ENVELOPE_BYTES), envelopeContext(context));
  return own === undefined ? undefined : createSecretKey(own);
}

function openAny(key: MasterKey, sealed: Buffer, context: string): Buffer | undefined {
  if (sealed[0] === DIRECT) return decrypt(key.master, sealed.subarray(1), context);
  const own = contentKey(key, sealed, context);
  return own === undefined ? undefined : decrypt(own, sealed.subarray(ENVELOPE_BYTES), context);
}

/** Opens what `seal` made, now or before. @throws Error naming the context; never a part of the content. */
export function open(key: MasterKey, sealed: Buffer, context: string): Buffer {
  const least = sealed[0] === DIRECT ? 1 + BOX_BYTES : ENVELOPE_BYTES + BOX_BYTES;
  if ((sealed[0] !== DIRECT && sealed[0] !== ENVELOPE) || sealed.length < least)
    throw new Error(`${context} is not something Plumbline sealed`);
  const opened = openAny(key, sealed, context);
  if (opened !== undefined) return opened;
  throw new Error(
    `${context} does not open: it was sealed with another master key, or moved or changed in the database. Restore the key file of this installation (PLUMBLINE_KEY_FILE)`,
  );
}

/**
 * Puts a sealed row into an envelope of the next master key; its content stays as it is. A row that the next key opens
 * already is returned unchanged, so that a rotation that was cut off can go on.
 * @throws Error when neither key opens it
 */
export function rewrap(from: MasterKey, to: MasterKey, sealed: Buffer, context: string): Buffer {
  if (sealed.length > ENVELOPE_BYTES && isSealedBy(to, sealed, context)) return sealed;
  if (sealed[0] !== ENVELOPE) return seal(to, open(from, sealed, context), context);
  open(from, sealed, context);
  const own = decrypt(from.master, sealed.subarray(1, ENVELOPE_BYTES), envelopeContext(context));
  if (own === undefined) throw new Error(`${context} does not open`);
  const envelope = encrypt(to.master, own, envelopeContext(context));
  return Buffer.concat([Buffer.from([ENVELOPE]), envelope, sealed.subarray(ENVELOPE_BYTES)]);
}

/** A new passphrase for a stack's secrets provider: 256 random bits. */
export function newPassphrase(): string {
  return randomBytes(32).toString('base64url');
}

/** A new HMAC key for a tenant, sealed for its row. */
export function newTenantKey(key: MasterKey, tenant: string): Buffer {
  return seal(key, randomBytes(KEY_BYTES), sealContext.hmacKey(tenant));
}

/** Opens a tenant's HMAC key. @throws like `open` */
export function openTenantKey(key: MasterKey, tenant: string, sealed: Buffer): TenantKey {
  return { hmac: createSecretKey(open(key, sealed, sealContext.hmacKey(tenant))) };
}

/** `hmac-sha256:…` of a value that could be secret: equal values show as equal, and nothing can be guessed from it. */
export function hmacValue(key: TenantKey, value: string): string {
  return `hmac-sha256:${createHmac('sha256', key.hmac).update(value).digest('hex')}`;
}
