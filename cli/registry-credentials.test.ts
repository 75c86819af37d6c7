import { describe, expect, it } from 'vitest';
import { CREDENTIALS, FROM_CREDENTIALS, registryCredentials } from './registry-credentials.ts';

const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
const docker = (content: unknown) => ({ origin: '/home/me/.docker/config.json', content });
const find = (host: string, env: Record<string, string>, content: unknown) =>
  registryCredentials(host, env, docker(content), CREDENTIALS, AbortSignal.timeout(10_000));

describe('registryCredentials', () => {
  it.each<[string, string, unknown, { username: string; password: string } | undefined]>([
    [
      'the entry of the host',
      'a.example',
      { auths: { 'a.example': auth('u:p:q') } },
      { username: 'u', password: 'p:q' },
    ],
    [
      'an address of old clients',
      'a.example',
      { auths: { 'https://a.example/v2/': auth('u:p') } },
      { username: 'u', password: 'p' },
    ],
    [
      'Docker Hub by its old name',
      'docker.io',
      { auths: { 'https://index.docker.io/v1/': auth('u:p') } },
      { username: 'u', password: 'p' },
    ],
    ['nothing for another port', 'a.example:5000', { auths: { 'a.example': auth('u:p') } }, undefined],
    ['nothing for a longer host', 'a.example', { auths: { 'a.example.evil': auth('u:p') } }, undefined],
    ['nothing where there is no file', 'a.example', undefined, undefined],
  ])('finds %s', async (_what, host, content, found) => {
    expect(await find(host, {}, content)).toEqual(found);
  });

  it('takes the environment first', async () => {
    const env = { PLUMBLINE_REGISTRY_USERNAME: 'e', PLUMBLINE_REGISTRY_PASSWORD: 'f' };
    const config = { auths: { 'a.example': auth('u:p') } };
    expect(await find('a.example', env, config)).toEqual({ username: 'e', password: 'f' });
  });

  it('never gives the side a copy reads from the credentials of the side it writes to', async () => {
    const env = { PLUMBLINE_REGISTRY_USERNAME: 'e', PLUMBLINE_REGISTRY_PASSWORD: 'f' };
    const registryOfOthers = await registryCredentials(
      'a.example',
      env,
      docker(undefined),
      FROM_CREDENTIALS,
      AbortSignal.timeout(10_000),
    );
    expect(registryOfOthers).toBeUndefined();
  });

  it.each<[string, Record<string, string>, unknown, string]>([
    ['half of them', { PLUMBLINE_REGISTRY_USERNAME: 'e' }, undefined, 'together, or neither'],
    ['an entry that is no pair', {}, { auths: { 'a.example': auth('secretword') } }, 'is not user:password'],
    ['a helper', {}, { credHelpers: { 'a.example': 'ecr-login' } }, 'docker-credential-ecr-login'],
    ['a store', {}, { auths: { 'a.example': {} }, credsStore: 'desktop' }, 'docker-credential-desktop'],
  ])('says what to do about %s', async (_what, env, content, message) => {
    const failed = await find('a.example', env, content).catch(String);
    expect(failed).toContain(message);
    expect(failed).not.toContain('secretword');
  });
});
