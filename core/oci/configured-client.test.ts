import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConfigError, loadConfig } from '../config.ts';
import { createConfiguredClient } from './configured-client.ts';
import { digestOf } from './digest.ts';
import { OCI_MANIFEST } from './media-types.ts';
import { startTestServer, type Reply } from './test-server.ts';

const signal = AbortSignal.timeout(30_000);
const CHALLENGE: Reply = { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } };
const FOUND: Reply = { headers: { 'content-type': OCI_MANIFEST, 'docker-content-digest': digestOf(Buffer.from('')) } };
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

async function makeFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-client-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function clientFor(settings: Record<string, string>, environment: Record<string, string> = {}) {
  const client = await createConfiguredClient(loadConfig(settings), environment);
  onTestFinished(() => client.close());
  return client;
}

describe('the client of a process', () => {
  it('takes its registries from the file and credentials from the docker config, renewed ones too', async () => {
    const dir = await makeFolder();
    const registry = await startTestServer(({ authorization }) => (authorization === undefined ? CHALLENGE : FOUND));
    const docker = join(dir, 'config.json');
    const login = (user: string) =>
      writeFile(docker, JSON.stringify({ auths: { [registry.host]: { username: user, password: 'p' } } }));
    await login('first');
    const file = join(dir, 'registries.yaml');
    await writeFile(file, JSON.stringify({ registries: { [registry.host]: { plainHttp: true } } }));
    const settings = { PLUMBLINE_REGISTRIES_FILE: file, PLUMBLINE_DOCKER_CONFIG: docker };
    const client = await clientFor(settings);
    const repository = { host: registry.host, name: 'infra/shop' };
    await login('second');
    expect(await client.resolve(repository, 'prod', signal)).toMatchObject({ mediaType: OCI_MANIFEST });
    expect(registry.seen.map(({ authorization }) => authorization)).toEqual([undefined, basic('second:p')]);
  });

  it('refuses a registry that is not allowed', async () => {
    const client = await clientFor({ PLUMBLINE_ALLOWED_REGISTRIES: 'ghcr.io,*.example.com' });
    const failed = client.resolve({ host: 'other.invalid', name: 'infra/shop' }, 'prod', signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
  });

  it('runs a helper where that is on, and once for many requests', async () => {
    const dir = await makeFolder();
    const helper = join(dir, 'docker-credential-test');
    await writeFile(helper, `#!/bin/sh\necho asked >> "$HOME/asked"\necho '{"Username":"u","Secret":"s"}'\n`);
    await chmod(helper, 0o755);
    const registry = await startTestServer(({ authorization }) => (authorization === undefined ? CHALLENGE : FOUND));
    const docker = join(dir, 'config.json');
    await writeFile(docker, JSON.stringify({ credHelpers: { [registry.host]: 'test' } }));
    const settings = { PLUMBLINE_DOCKER_CONFIG: docker, PLUMBLINE_PLAIN_HTTP_REGISTRIES: registry.host };
    const repository = { host: registry.host, name: 'infra/shop' };
    const off = await clientFor(settings);
    await expect(off.resolve(repository, 'prod', signal)).rejects.toThrow('PLUMBLINE_CREDENTIAL_HELPERS=on');
    const environment = { PATH: `${dir}:/usr/bin:/bin`, HOME: dir };
    const on = await clientFor({ ...settings, PLUMBLINE_CREDENTIAL_HELPERS: 'on' }, environment);
    await Promise.all([1, 2, 3].map(() => on.resolve(repository, 'prod', signal)));
    expect(registry.seen.at(-1)?.authorization).toBe(basic('u:s'));
    expect(await readFile(join(dir, 'asked'), 'utf8')).toBe('asked\n');
  });

  it.each<[string, Record<string, string>]>([
    ['a docker config that is missing', { PLUMBLINE_DOCKER_CONFIG: '/nowhere/config.json' }],
    ['a file of registries that is missing', { PLUMBLINE_REGISTRIES_FILE: '/nowhere/registries.yaml' }],
  ])('is not made with %s', async (_, settings) => {
    await expect(createConfiguredClient(loadConfig(settings), {})).rejects.toBeInstanceOf(ConfigError);
  });

  it('takes the proxies of the environment in small letters too', () => {
    const config = loadConfig({ https_proxy: 'http://p:1', NO_PROXY: 'a', no_proxy: 'b' });
    expect([config.HTTPS_PROXY, config.HTTP_PROXY, config.NO_PROXY]).toEqual(['http://p:1', '', 'a']);
  });
});
