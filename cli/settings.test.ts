import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readSettings, type Environment } from './settings.ts';

const dir = mkdtempSync(join(tmpdir(), 'settings-'));
afterAll(() => rmSync(dir, { recursive: true }));

describe('readSettings', () => {
  it('takes options before the environment, and has defaults for both', () => {
    const env = { PLUMBLINE_URL: 'https://a.example/', PLUMBLINE_TENANT: 'shop' };
    expect(readSettings(env, {})).toMatchObject({ url: 'https://a.example', tenant: 'shop', tenantChosen: true });
    expect(readSettings(env, { url: 'http://b', tenant: 'x' })).toMatchObject({ url: 'http://b', tenant: 'x' });
    expect(readSettings({}, {})).toMatchObject({
      url: 'http://127.0.0.1:7420',
      tenant: 'default',
      tenantChosen: false,
    });
  });

  it.each<[string, Environment, string]>([
    ['an address that is none', { PLUMBLINE_URL: 'localhost' }, 'PLUMBLINE_URL is no address'],
    ['another protocol', { PLUMBLINE_URL: 'ftp://x' }, 'PLUMBLINE_URL is no address'],
    ['a password in the address', { PLUMBLINE_URL: 'https://u:secret@x' }, 'the token belongs into PLUMBLINE_TOKEN'],
    ['a tenant that leaves its path', { PLUMBLINE_TENANT: '../other' }, 'is no name of a tenant'],
  ])('refuses %s, without repeating a secret', (_what, env, message) => {
    expect(() => readSettings(env, {})).toThrow(message);
    expect(() => readSettings(env, {})).not.toThrow('secret');
  });
});

describe('token', () => {
  const file = join(dir, 'token');
  writeFileSync(file, 'plumb_file\n');

  it.each<[string, Environment, string]>([
    ['the environment', { PLUMBLINE_TOKEN: 'plumb_env', PLUMBLINE_TOKEN_FILE: file }, 'plumb_env'],
    ['a file, without its line end', { PLUMBLINE_TOKEN_FILE: file }, 'plumb_file'],
  ])('comes from %s', async (_from, env, token) => {
    expect(await readSettings(env, {}).token()).toBe(token);
  });

  it.each<[string, Environment, string]>([
    ['is missing', {}, 'no token: set PLUMBLINE_TOKEN'],
    ['is empty', { PLUMBLINE_TOKEN: ' ' }, 'no token: set PLUMBLINE_TOKEN'],
    ['would break a header', { PLUMBLINE_TOKEN: 'a\nb' }, 'characters no token has'],
    ['lies in no file', { PLUMBLINE_TOKEN_FILE: join(dir, 'none') }, 'PLUMBLINE_TOKEN_FILE cannot be read'],
  ])('that %s is refused in a sentence', async (_what, env, message) => {
    await expect(readSettings(env, {}).token()).rejects.toThrow(message);
  });
});
