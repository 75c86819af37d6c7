import { open, readFile, unlink } from 'node:fs/promises';
import type { KeyObject } from 'node:crypto';
import { readSigningKey, type KeyPair } from '#core/oci/sign-key.ts';
import { ReconcileError } from '#core/domain/errors.ts';
import { failure, usage } from './error.ts';
import type { Environment } from './settings.ts';

/** Settings that hold the password of a private key, in this order. There is no option: arguments are visible to all. */
const PASSWORDS = ['PLUMBLINE_KEY_PASSWORD', 'COSIGN_PASSWORD'] as const;
const MAX_FILE_BYTES = 1024 * 1024;

/** A small text file that an option names. @throws CliError */
export async function readTextFile(file: string, option: string): Promise<string> {
  try {
    const text = await readFile(file, 'utf8');
    if (text.length <= MAX_FILE_BYTES) return text;
  } catch (error) {
    throw usage(`${option}: ${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  throw usage(`${option}: ${file} is larger than ${MAX_FILE_BYTES} bytes`);
}

/** The password of a private key: from a file, else from the environment; undefined when there is none. */
export async function keyPassword(env: Environment, file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return PASSWORDS.map((name) => env[name]).find((value) => value !== undefined);
  return (await readTextFile(file, '--key-password-file')).replace(/\r?\n$/, '');
}

/** Reads a private key. @throws CliError usage, also for what is no key, or closed by another password */
export async function readKeyFile(file: string, password: string | undefined): Promise<KeyObject> {
  const pem = await readTextFile(file, '--key');
  try {
    return await readSigningKey(pem, password);
  } catch (error) {
    if (!(error instanceof ReconcileError)) throw error;
    throw usage(`--key: ${file}: ${error.message}${hintFor(pem, password)}`);
  }
}

function hintFor(pem: string, password: string | undefined): string {
  const kind = /-----BEGIN ([A-Z0-9 ]{1,60})-----/.exec(pem)?.[1];
  if (kind?.includes('ENCRYPTED') === true) {
    return password === undefined ? `; set ${PASSWORDS[0]}, or name a file with --key-password-file` : '';
  }
  if (kind?.includes('PRIVATE KEY') === true) return '';
  return kind === undefined ? '; it holds no PEM' : `; it holds ${kind}, and signing takes the private key`;
}

async function create(file: string, text: string, mode: number): Promise<void> {
  try {
    const handle = await open(file, 'wx', mode);
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    if (exists) throw usage(`${file} is there already, and is kept: a key that is lost signs nothing again`);
    throw failure(`${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

/** The files of a key pair; `secret` holds the manifest of a Secret with the public key. */
export interface KeyFiles {
  key: string;
  pub: string;
  secret?: string;
}

/** Writes all or none, over nothing; the private key for its owner only. @throws CliError */
export async function writeKeyPair(prefix: string, pair: KeyPair, more: { secret?: string } = {}): Promise<KeyFiles> {
  const [key, pub, secret] = [`${prefix}.key`, `${prefix}.pub`, `${prefix}.secret.yaml`];
  const wanted: [string, string, number][] = [
    [key, pair.privateKey, 0o600],
    [pub, pair.publicKey, 0o644],
    ...(more.secret === undefined ? [] : [[secret, more.secret, 0o644] satisfies [string, string, number]]),
  ];
  const written: string[] = [];
  try {
    for (const [file, text, mode] of wanted) {
      await create(file, text, mode);
      written.push(file);
    }
  } catch (error) {
    for (const file of written) await unlink(file);
    throw error;
  }
  return { key, pub, ...(more.secret === undefined ? {} : { secret }) };
}
