import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { credentialsFromSecret, dockerCredentials, parseDockerConfig } from './docker-config.ts';
import type { RegistryCredentials } from './port.ts';

const signal = AbortSignal.timeout(30_000);
const auth = (text: string) => Buffer.from(text).toString('base64');
const config = (content: unknown) => parseDockerConfig(JSON.stringify(content), '/home/me/.docker/config.json');
const find = (host: string, content: unknown) => dockerCredentials(config(content), host, 'off', signal);

/** A folder with a program `docker-credential-test` of this text, on the PATH of the helpers. */
async function withHelper(script: string): Promise<{ environment: Record<string, string>; dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-helper-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, 'docker-credential-test');
  await writeFile(file, `#!/bin/sh\n${script}\n`);
  await chmod(file, 0o755);
  return { dir, environment: { PATH: `${dir}:/usr/bin:/bin`, HOME: dir, PLUMBLINE_KEY_FILE: 'not for helpers' } };
}

describe('a docker config', () => {
  it.each<[string, string, unknown, RegistryCredentials | undefined]>([
    ['the entry of the host', 'a.example', { auth: auth('u:p:q') }, { username: 'u', password: 'p:q' }],
    ['an entry padded with NUL', 'a.example', { auth: auth('u:p\0\0') }, { username: 'u', password: 'p' }],
    ['an old entry in clear', 'a.example', { username: 'u', password: 'p' }, { username: 'u', password: 'p' }],
    [
      'an identity token',
      'a.example',
      { auth: auth('u:'), identitytoken: 'refresh' },
      { identityToken: 'refresh', username: 'u' },
    ],
    ['an identity token without a user', 'a.example', { identitytoken: 'refresh' }, { identityToken: 'refresh' }],
    ['a registry token', 'a.example', { registrytoken: 'bearer' }, { registryToken: 'bearer' }],
    ['nothing in an empty entry', 'a.example', {}, undefined],
    ['nothing in an entry that is no object', 'a.example', 7, undefined],
    ['nothing for another port', 'a.example:5000', { auth: auth('u:p') }, undefined],
    ['nothing for a longer host', 'a.example.evil', { auth: auth('u:p') }, undefined],
    ['nothing for a part of the host', 'example', { auth: auth('u:p') }, undefined],
  ])('finds %s', async (_, host, entry, expected) => {
    expect(await find(host, { auths: { 'a.example': entry } })).toEqual(expected);
  });

  it.each(['https://a.example', 'https://a.example/v2/', 'http://a.example/v1/', 'A.example', 'a.example:443'])(
    'knows a host written as %s',
    async (key) => {
      expect(await find('a.example', { auths: { [key]: { auth: auth('u:p') } } })).toEqual({
        username: 'u',
        password: 'p',
      });
    },
  );

  it.each(['https://index.docker.io/v1/', 'docker.io', 'index.docker.io', 'registry-1.docker.io'])(
    'knows Docker Hub as %s',
    async (key) => {
      expect(await find('docker.io', { auths: { [key]: { auth: auth('u:p') } } })).toEqual({
        username: 'u',
        password: 'p',
      });
    },
  );

  it.each<[string, unknown, string]>([
    ['an entry that is no pair', { auths: { 'a.example': { auth: auth('secretword') } } }, 'is not user:password'],
    ['a helper', { credHelpers: { 'a.example': 'ecr-login' } }, 'docker-credential-ecr-login'],
    ['a store that knows the host', { auths: { 'a.example': {} }, credsStore: 'desktop' }, 'docker-credential-desktop'],
    [
      'a helper before an entry',
      { auths: { 'a.example': { auth: auth('u:secretword') } }, credHelpers: { 'a.example': 'x' } },
      'PLUMBLINE_CREDENTIAL_HELPERS=on',
    ],
  ])('says what to do about %s', async (_, content, message) => {
    const failed = find('a.example', content);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'SourceUnauthorized' });
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.not.toThrow('secretword');
  });

  it('is anonymous for a host its store was never told of', async () => {
    expect(await find('a.example', { auths: { 'b.example': {} }, credsStore: 'desktop' })).toBeUndefined();
  });

  it.each(['{', '', 'null', '[]', '"x"'])('of the text %j fails clearly or knows nothing', async (text) => {
    const found = (async () =>
      await dockerCredentials(parseDockerConfig(text, 'the file'), 'a.example', 'off', signal))();
    if (text === '{' || text === '') await expect(found).rejects.toThrow('the file is not valid JSON');
    else expect(await found).toBeUndefined();
  });
});

describe('a credential helper', () => {
  const content = config({ credHelpers: { 'a.example:5000': 'test', 'docker.io': 'test' } });

  it('is asked by standard input, with none of our other variables', async () => {
    const { dir, environment } = await withHelper(
      `cat > "$HOME/asked"; echo "$1 $PLUMBLINE_KEY_FILE" >> "$HOME/asked"; echo '{"ServerURL":"x","Username":"u","Secret":"s"}'`,
    );
    expect(await dockerCredentials(content, 'a.example:5000', { environment }, signal)).toEqual({
      username: 'u',
      password: 's',
    });
    expect(await readFile(join(dir, 'asked'), 'utf8')).toBe('a.example:5000get \n');
    await dockerCredentials(content, 'docker.io', { environment }, signal);
    expect(await readFile(join(dir, 'asked'), 'utf8')).toBe('https://index.docker.io/v1/get \n');
  });

  it.each<[string, string, RegistryCredentials | undefined]>([
    ['a refresh token', `echo '{"Username":"<token>","Secret":"r"}'`, { identityToken: 'r' }],
    ['nothing', `echo "credentials not found in native keychain"; exit 1`, undefined],
  ])('gives %s', async (_, script, expected) => {
    const { environment } = await withHelper(script);
    expect(await dockerCredentials(content, 'a.example:5000', { environment }, signal)).toEqual(expected);
  });

  it.each<[string, string, string]>([
    ['fails', 'echo "the password is secretword"; echo secretword >&2; exit 3', 'ended with 3'],
    ['answers no JSON', 'echo secretword', 'not JSON'],
    ['answers without end', 'yes secretword', 'ended with a signal'],
  ])('that %s is an error that shows nothing it printed', async (_, script, message) => {
    const { environment } = await withHelper(script);
    const failed = dockerCredentials(content, 'a.example:5000', { environment }, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnauthorized' });
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.not.toThrow('secretword');
  });

  it('that is not installed is named', async () => {
    const failed = dockerCredentials(content, 'a.example:5000', { environment: { PATH: '/nowhere' } }, signal);
    await expect(failed).rejects.toThrow(
      'docker-credential-test gave no credentials for a.example:5000: it is not on the PATH',
    );
  });

  it('ends with the caller', async () => {
    const { environment } = await withHelper('exec sleep 60');
    const controller = new AbortController();
    const stop = new Error('lease lost');
    setTimeout(() => controller.abort(stop), 50);
    await expect(dockerCredentials(content, 'a.example:5000', { environment }, controller.signal)).rejects.toBe(stop);
  });

  it.each(['../evil', 'a b', 'A', 'x;y', '$(x)'])('is never run by the name %j', async (name) => {
    const failed = dockerCredentials(
      config({ credHelpers: { 'a.example': name } }),
      'a.example',
      { environment: {} },
      signal,
    );
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'SourceUnauthorized' });
  });
});

describe('the credentials of a secret', () => {
  const json = JSON.stringify({ auths: { 'a.example': { auth: auth('u:p') } } });

  it.each<[string, Record<string, string>, RegistryCredentials | undefined]>([
    ['username and password', { username: 'n', password: 'w' }, { username: 'n', password: 'w' }],
    [
      'both, the plain ones first',
      { username: 'n', password: 'w', 'config.json': json },
      { username: 'n', password: 'w' },
    ],
    ['.dockerconfigjson', { '.dockerconfigjson': json }, { username: 'u', password: 'p' }],
    ['config.json', { 'config.json': json }, { username: 'u', password: 'p' }],
    ['a config without the host', { 'config.json': '{"auths":{}}' }, undefined],
  ])('come from %s', (_, data, expected) => {
    expect(credentialsFromSecret(data, 'a.example')).toEqual(expected);
  });

  it.each<[string, Record<string, string>, string]>([
    ['holds half of them', { username: 'secretword' }, '.dockerconfigjson'],
    ['holds no JSON', { '.dockerconfigjson': 'secretword' }, 'is not valid JSON'],
    ['names a helper', { '.dockerconfigjson': '{"credHelpers":{"a.example":"x"}}' }, 'is not run'],
  ])('are an error where it %s', (_, data, message) => {
    expect(() => credentialsFromSecret(data, 'a.example')).toThrow(message);
    expect(() => credentialsFromSecret(data, 'a.example')).not.toThrow('secretword');
  });
});
