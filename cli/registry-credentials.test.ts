import { describe, expect, it } from 'vitest';
import { registryCredentials } from './registry-credentials.ts';

const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
const docker = (content: unknown) => ({ file: '/home/me/.docker/config.json', content });

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
  ])('finds %s', (_what, host, content, found) => {
    expect(registryCredentials(host, {}, docker(content))).toEqual(found);
  });

  it('takes the environment first', () => {
    const env = { PLUMBLINE_REGISTRY_USERNAME: 'e', PLUMBLINE_REGISTRY_PASSWORD: 'f' };
    const config = docker({ auths: { 'a.example': auth('u:p') } });
    expect(registryCredentials('a.example', env, config)).toEqual({ username: 'e', password: 'f' });
  });

  it.each<[string, Record<string, string>, unknown, string]>([
    ['half of them', { PLUMBLINE_REGISTRY_USERNAME: 'e' }, undefined, 'together, or neither'],
    ['an entry that is no pair', {}, { auths: { 'a.example': auth('secretword') } }, 'is not user:password'],
    ['a helper', {}, { credHelpers: { 'a.example': 'ecr-login' } }, 'docker-credential-ecr-login'],
    ['a store', {}, { auths: { 'a.example': {} }, credsStore: 'desktop' }, 'docker-credential-desktop'],
  ])('says what to do about %s', (_what, env, content, message) => {
    expect(() => registryCredentials('a.example', env, docker(content))).toThrow(message);
    expect(() => registryCredentials('a.example', env, docker(content))).not.toThrow('secretword');
  });
});
