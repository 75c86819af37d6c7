import { createPrivateKey, createPublicKey, generateKeyPair, sign, type KeyObject } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { JWK } from 'jose';
import { ConfigError } from '#core/config.ts';
import { makePrivateFile } from '#core/private-file.ts';
import { MODULUS_BITS, publicJwk, type KeyRing } from './key-ring.ts';
import { keyStates, needsSuccessor, type KeyAge } from './key-states.ts';

/** `<milliseconds since 1970 of its making>.pem`: the age has to survive a copy of the folder. */
const FILE = /^(\d{13})\.pem$/;
/** How long what was read is believed; a key made by another process of the service is announced for hours anyway. */
const FRESH_MS = 60_000;

interface FolderKey extends KeyAge {
  file: string;
  key: KeyObject;
  jwk: JWK;
}

async function requirePrivate(path: string, mode: number): Promise<void> {
  if ((mode & 0o077) === 0) return;
  const wanted = path.endsWith('.pem') ? '600' : '700';
  throw new ConfigError(
    `${path} has mode ${(mode & 0o777).toString(8)}, so others can reach keys of tokens: chmod ${wanted} it`,
  );
}

async function readKey(dir: string, name: string): Promise<FolderKey> {
  const file = join(dir, name);
  await requirePrivate(file, (await stat(file)).mode);
  const text = await readFile(file);
  let key: KeyObject;
  try {
    key = createPrivateKey(text);
  } catch {
    // The error of the parser is left out: nobody knows what it quotes.
    throw new ConfigError(`${file} holds no private key in PEM; remove it, or restore it (PLUMBLINE_OIDC_KEYS)`);
  }
  if (key.asymmetricKeyType !== 'rsa' || (key.asymmetricKeyDetails?.modulusLength ?? 0) < MODULUS_BITS)
    throw new ConfigError(`${file} is no RSA key of ${MODULUS_BITS} bits or more, which clouds ask for; remove it`);
  const jwk = await publicJwk(createPublicKey(key));
  return { file, key, jwk, kid: jwk.kid, createdAt: Number(FILE.exec(name)?.[1]) };
}

/** One that another process of the service made in the same millisecond is as good. */
async function makeKey(dir: string, now: number): Promise<void> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: MODULUS_BITS });
  await makePrivateFile(join(dir, `${now}.pem`), privateKey.export({ type: 'pkcs8', format: 'pem' }));
}

async function readKeys(dir: string): Promise<FolderKey[]> {
  const names = (await readdir(dir)).filter((name) => FILE.test(name));
  return await Promise.all(names.map((name) => readKey(dir, name)));
}

/** Reads the folder, makes the key that is due and removes those nobody needs. */
async function turn(dir: string, now: number): Promise<FolderKey[]> {
  let keys = await readKeys(dir);
  if (needsSuccessor(keys, now)) {
    await makeKey(dir, now);
    keys = await readKeys(dir);
  }
  const states = keyStates(keys, now);
  const gone = keys.filter((key) => states.get(key.kid) === 'gone');
  for (const key of gone) await rm(key.file, { force: true });
  return keys.filter((key) => !gone.includes(key));
}

/**
 * Keys in a folder, made at the first start and rotated by themselves. Processes of a service share the folder.
 * @throws ConfigError when others can read it, or a file in it is no key
 */
export async function openFolderKeys(dir: string): Promise<KeyRing> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await requirePrivate(dir, (await stat(dir)).mode);
  let read: { at: number; keys: Promise<FolderKey[]> } | undefined;
  const keysAt = (now: number): Promise<FolderKey[]> => {
    if (read !== undefined && Math.abs(now - read.at) < FRESH_MS) return read.keys;
    const keys = turn(dir, now);
    const current = { at: now, keys };
    read = current;
    keys.catch(() => {
      if (read === current) read = undefined;
    });
    return keys;
  };
  return {
    async signing(now) {
      const keys = await keysAt(now);
      const states = keyStates(keys, now);
      const found = keys.find((key) => states.get(key.kid) === 'signing');
      if (found === undefined) throw new Error(`the folder ${dir} holds no key that signs`);
      return { kid: found.kid, sign: async (data) => sign('sha256', data, found.key) };
    },
    published: async (now) => (await keysAt(now)).map((key) => key.jwk),
  };
}
