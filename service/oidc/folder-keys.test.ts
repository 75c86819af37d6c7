import { generateKeyPairSync } from 'node:crypto';
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConfigError } from '#core/config.ts';
import { openFolderKeys } from './folder-keys.ts';
import { createIssuer, openIssuer } from './issuer.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 10, 24);
const ISSUER = 'https://plumb.example.com';

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-oidc-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function tokenAt(dir: string, now: number) {
  const issuer = createIssuer(ISSUER, await openFolderKeys(dir));
  const seconds = Math.floor(now / 1000);
  const claims = { sub: 'tenant:a:stack:b:op:plan', aud: 'sts.amazonaws.com', iat: seconds, exp: seconds + 600 };
  const token = await issuer.issue(claims, now, AbortSignal.timeout(5_000));
  return { token, keySet: () => issuer.keySet(now) };
}

describe('the folder of keys', () => {
  it('is made at the first start, for its owner alone', async () => {
    const dir = join(await scratch(), 'below', 'keys');
    await (await openFolderKeys(dir)).signing(NOW);
    const [file = '', ...more] = await readdir(dir);
    expect(more).toEqual([]);
    expect((await stat(join(dir, file))).mode & 0o777).toBe(0o600);
    expect((await stat(dir)).mode & 0o777).toBe(0o700);
  });

  it('is read again as it is, so that a restart signs with the same key', async () => {
    const dir = await scratch();
    const first = await (await openFolderKeys(dir)).signing(NOW);
    const second = await (await openFolderKeys(dir)).signing(NOW + DAY);
    expect(second.kid).toBe(first.kid);
  });

  it('signs what a cloud verifies with the published keys, before, during and after a rotation', async () => {
    const dir = await scratch();
    const old = await tokenAt(dir, NOW);
    // A cloud that fetched the set a day before the new key signs.
    const announced = await tokenAt(dir, NOW + 30 * DAY);
    const set = await announced.keySet();
    expect(set.keys).toHaveLength(2);
    const fresh = await tokenAt(dir, NOW + 31 * DAY);
    const verify = async (token: string, now: number) =>
      await jwtVerify(token, createLocalJWKSet(set), { issuer: ISSUER, currentDate: new Date(now) });
    const kids = [
      (await verify(old.token, NOW)).protectedHeader.kid,
      (await verify(announced.token, NOW + 30 * DAY)).protectedHeader.kid,
      (await verify(fresh.token, NOW + 31 * DAY)).protectedHeader.kid,
    ];
    expect(kids[0]).toBe(kids[1]);
    expect(kids[2]).not.toBe(kids[0]);
    // Nobody needs the old key any more.
    expect((await (await tokenAt(dir, NOW + 33 * DAY)).keySet()).keys).toEqual([
      expect.objectContaining({ kid: kids[2], kty: 'RSA', use: 'sig', alg: 'RS256' }),
    ]);
    expect(await readdir(dir)).toHaveLength(1);
  });

  it('publishes no private part', async () => {
    const { keys } = await (await tokenAt(await scratch(), NOW)).keySet();
    expect(Object.keys(keys[0] ?? {}).sort()).toEqual(['alg', 'e', 'kid', 'kty', 'n', 'use']);
  });

  it('is refused when others can read a key or the folder', async () => {
    const dir = await scratch();
    await (await openFolderKeys(dir)).signing(NOW);
    await chmod(join(dir, `${NOW}.pem`), 0o640);
    await expect((await openFolderKeys(dir)).signing(NOW)).rejects.toThrow(/mode 640.*chmod 600/);
    await chmod(dir, 0o755);
    await expect(openFolderKeys(dir)).rejects.toThrow(/mode 755.*chmod 700/);
  });

  it.each([
    ['no key', 'hello', /holds no private key/],
    ['a cut key', '-----BEGIN PRIVATE KEY-----\nMIIE\n', /holds no private key/],
    [
      'a key of another kind',
      generateKeyPairSync('ec', {
        namedCurve: 'P-256',
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
        publicKeyEncoding: { type: 'spki', format: 'pem' },
      }).privateKey,
      /no RSA key/,
    ],
    [
      'a short key',
      generateKeyPairSync('rsa', {
        modulusLength: 1024,
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
        publicKeyEncoding: { type: 'spki', format: 'pem' },
      }).privateKey,
      /2048 bits/,
    ],
  ])('with %s in it is refused, and the start says which file it is', async (_, text, message) => {
    const dir = await scratch();
    await writeFile(join(dir, `${NOW}.pem`), text, { mode: 0o600 });
    await expect(openIssuer({ PLUMBLINE_PUBLIC_URL: ISSUER, oidcKeys: dir })).rejects.toThrow(message);
  });

  it('leaves alone what is no key of its own', async () => {
    const dir = await scratch();
    await writeFile(join(dir, 'README'), 'keys', { mode: 0o600 });
    await (await openFolderKeys(dir)).signing(NOW);
    expect(await readdir(dir)).toContain('README');
  });
});

describe('the public URL', () => {
  it.each([
    ['https://plumb.example.com', ISSUER],
    ['https://plumb.example.com/', ISSUER],
    ['https://plumb.example.com/team//', `${ISSUER}/team`],
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
  ])('%s becomes the issuer %s', async (text, url) => {
    const issuer = createIssuer(text, await openFolderKeys(await scratch()));
    expect(issuer.configuration()).toMatchObject({ issuer: url, jwks_uri: `${url}/.well-known/jwks.json` });
  });

  it.each([
    'http://plumb.example.com',
    'plumb.example.com',
    'https://a/?x=1',
    'https://a/#b',
    'https://me:pw@a/',
    'ftp://a',
  ])('%s is refused, because no cloud takes it', async (text) => {
    const keys = await openFolderKeys(await scratch());
    expect(() => createIssuer(text, keys)).toThrow(ConfigError);
  });

  it('that is empty means no issuer, and no keys are made', async () => {
    const dir = join(await scratch(), 'keys');
    expect(await openIssuer({ PLUMBLINE_PUBLIC_URL: '', oidcKeys: dir })).toBeUndefined();
    await expect(stat(dir)).rejects.toThrow('ENOENT');
  });
});
