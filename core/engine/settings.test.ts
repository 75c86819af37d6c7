import { createDecipheriv, pbkdf2Sync } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { ConfigValue } from './port.ts';
import { configKey, newEncryptionSalt, writeSettings } from './settings.ts';

const passphrase = 'correct horse battery';
let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'settings-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Opens a value the way sdk/go/common/resource/config/crypt.go does. */
function decrypt(salt: string, value: string): string {
  const key = pbkdf2Sync(passphrase, Buffer.from(salt.split(':')[1] ?? '', 'base64'), 1_000_000, 32, 'sha256');
  const [, nonce = '', sealed = ''] = value.split(':');
  const bytes = Buffer.from(sealed, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64'));
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString('utf8');
}

async function written(config: Record<string, ConfigValue>, encryptionSalt = 'v1:AAAAAAAAAAA=:v1:x:y') {
  const path = join(dir, 'settings.yaml');
  await writeSettings(path, {
    project: 'shop',
    stack: 'prod',
    programDir: dir,
    secrets: { encryptionSalt },
    passphrase,
    config,
  });
  return { path, text: await readFile(path, 'utf8') };
}

it("makes a salt that opens with its passphrase and holds the engine's check text", async () => {
  const salt = await newEncryptionSalt(passphrase);
  expect(decrypt(salt, salt.split(':').slice(2).join(':'))).toBe('pulumi');
  expect(await newEncryptionSalt(passphrase)).not.toBe(salt);
});

it('encrypts secrets, keeps plain values as they are, and gives keys their namespace', async () => {
  const salt = await newEncryptionSalt(passphrase);
  const config = {
    replicas: { value: 3, secret: false },
    answer: { value: 'yes', secret: false },
    'aws:region': { value: 'eu-central-1', secret: false },
    tags: { value: { team: 'a', list: [1, true] }, secret: false },
    password: { value: 'hunter2', secret: true },
    keys: { value: { a: 1 }, secret: true },
  };
  const { path, text } = await written(config, salt);
  expect(text).not.toContain('hunter2');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const document: unknown = parse(text, { version: '1.1' });
  expect(document).toMatchObject({
    encryptionsalt: salt,
    config: {
      'shop:replicas': 3,
      'shop:answer': 'yes',
      'aws:region': 'eu-central-1',
      'shop:tags': { team: 'a', list: [1, true] },
    },
  });
  const secure = /shop:password:\n\s+secure: "(.+)"/.exec(text)?.[1] ?? '';
  expect(decrypt(salt, secure)).toBe('hunter2');
  expect(decrypt(salt, /shop:keys:\n\s+secure: "(.+)"/.exec(text)?.[1] ?? '')).toBe('{"a":1}');
});

it("takes plain config the artifact ships, under the stack's own", async () => {
  await writeFile(join(dir, 'Pulumi.prod.yaml'), 'encryptionsalt: theirs\nconfig: {shop:replicas: 1, size: small}');
  const { text } = await written({ replicas: { value: 3, secret: false } });
  expect(parse(text)).toEqual({
    encryptionsalt: 'v1:AAAAAAAAAAA=:v1:x:y',
    config: { 'shop:replicas': 3, 'shop:size': 'small' },
  });
});

it('refuses a shipped secret, unless the stack gives its own', async () => {
  await writeFile(join(dir, 'Pulumi.prod.yaml'), 'config: {shop:password: {secure: "v1:a:b"}}');
  await expect(written({})).rejects.toThrow('spec.pulumi.secrets');
  expect((await written({ password: { value: 'mine', secret: false } })).text).toContain('mine');
});

it.each([
  ['replicas', 'shop:replicas'],
  ['aws:region', 'aws:region'],
])('%s is %s', (key, full) => {
  expect(configKey('shop', key)).toBe(full);
});
