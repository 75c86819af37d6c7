import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConfigError } from '../config.ts';
import { loadRegistrySettings, type RegistryConfig } from './registries-file.ts';
import { assertAllowed, entryOf, plainHttpHosts, proxyOf } from './registries.ts';
import { createTestAuthority } from './test-certificates.ts';
import { getFrom, startTestSession } from './test-session.ts';

const UNSET: RegistryConfig = {
  PLUMBLINE_REGISTRIES_FILE: '',
  PLUMBLINE_ALLOWED_REGISTRIES: '',
  HTTPS_PROXY: '',
  HTTP_PROXY: '',
  NO_PROXY: '',
};

async function folder(files: Record<string, string>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-registries-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  return dir;
}

async function load(text: string, files: Record<string, string> = {}) {
  const dir = await folder({ ...files, 'registries.yaml': text });
  return await loadRegistrySettings({ ...UNSET, PLUMBLINE_REGISTRIES_FILE: join(dir, 'registries.yaml') });
}

describe('the file of registries', () => {
  it('is read whole, its files from beside it', async () => {
    const authority = await createTestAuthority();
    const client = await authority.issue('client');
    const settings = await load(
      `
registries:
  Registry.Example.com:443:
    mirrors:
      - { host: 'mirror.internal:5000', plainHttp: true, prefix: cache/hub }
      - host: other.internal
    mirrorTags: true
    ca: ca.pem
    clientCertificate: client.pem
    clientKey: client-key.pem
    proxy: http://proxy.internal:3128
    privateHosts: ['minio.internal:9000']
    timeouts: { connect: 5, idle: 90 }
  localhost:5000: { plainHttp: true, proxy: none }
  index.docker.io: {}
`,
      { 'ca.pem': authority.cert, 'client.pem': client.cert, 'client-key.pem': client.key },
    );
    expect(entryOf(settings, 'registry.example.com')).toEqual({
      mirrors: [
        { host: 'mirror.internal:5000', plainHttp: true, prefix: 'cache/hub' },
        { host: 'other.internal', plainHttp: false, prefix: '' },
      ],
      mirrorTags: true,
      plainHttp: false,
      tls: { ca: authority.cert, cert: client.cert, key: client.key },
      proxy: new URL('http://proxy.internal:3128'),
      privateHosts: ['minio.internal:9000'],
      timeouts: { connect: 5_000, idle: 90_000 },
    });
    expect(plainHttpHosts(settings)).toEqual(['mirror.internal:5000', 'localhost:5000']);
    expect([...settings.entries.keys()]).toEqual(['registry.example.com', 'localhost:5000', 'docker.io']);
  });

  it.each<[string, string, string]>([
    ['is no YAML', 'registries: [', 'is no YAML'],
    ['is empty', '', 'registries.yaml must be object'],
    [
      'holds an unknown field',
      'registries: { a.example: { plainHTTP: true } }',
      '/registries/a.example/plainHTTP is no setting',
    ],
    ['holds an unknown part', '{ registries: {}, mirrors: [] }', 'registries.yaml /mirrors is no setting'],
    ['holds a wrong type', 'registries: { a.example: { plainHttp: "yes" } }', '/registries/a.example/plainHttp'],
    ['names no host', 'registries: { "https://a.example": {} }', 'is no host[:port]'],
    ['names a host twice', 'registries: { a.example: {}, "a.example:443": {} }', 'is the same registry'],
    ['names a missing file', 'registries: { a.example: { ca: none.pem } }', '/registries/a.example/ca cannot be read'],
    ['names a file that is no certificate', 'registries: { a.example: { ca: registries.yaml } }', 'no PEM certificate'],
    ['names half a client certificate', 'registries: { a.example: { clientKey: k.pem } }', 'together, or neither'],
    [
      'names no proxy',
      'registries: { a.example: { proxy: "socks5://me:secretword@p:1" } }',
      '/registries/a.example/proxy',
    ],
    [
      'names a prefix that is none',
      'registries: { a.example: { mirrors: [{ host: b, prefix: "../x" }] } }',
      'mirrors/0/prefix',
    ],
  ])('that %s is refused at start, with the place', async (_, text, message) => {
    const failed = load(text);
    await expect(failed).rejects.toBeInstanceOf(ConfigError);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.not.toThrow('secretword');
  });

  it('may be the example of its documentation', async () => {
    const page = await readFile(new URL('../../docs/registries.md', import.meta.url), 'utf8');
    const example = /```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
    const authority = await createTestAuthority();
    const client = await authority.issue('client');
    const files = { 'ca.pem': authority.cert, 'client.pem': client.cert, 'client-key.pem': client.key };
    const settings = await load(example, files);
    expect([...settings.entries.keys()]).toEqual(['docker.io', 'registry.example.com', 'registry.lab:5000']);
  });

  it('that is missing is refused at start', async () => {
    const failed = loadRegistrySettings({ ...UNSET, PLUMBLINE_REGISTRIES_FILE: '/nowhere/registries.yaml' });
    await expect(failed).rejects.toThrow('PLUMBLINE_REGISTRIES_FILE /nowhere/registries.yaml cannot be read');
  });

  it('whose key belongs to another certificate is refused at start', async () => {
    const [one, other] = await Promise.all([createTestAuthority(), createTestAuthority()]);
    const text = 'registries: { a.example: { clientCertificate: c.pem, clientKey: k.pem } }';
    await expect(load(text, { 'c.pem': one.cert, 'k.pem': other.key })).rejects.toThrow('do not belong together');
  });
});

describe('the list of allowed registries', () => {
  it.each<[string, string, boolean]>([
    ['', 'any.example.com', true],
    ['a.example.com', 'a.example.com', true],
    ['a.example.com', 'a.example.com:5000', false],
    ['a.example.com:5000', 'a.example.com:5000', true],
    ['a.example.com', 'a.example.com.evil.com', false],
    ['*.example.com', 'a.example.com', true],
    ['*.example.com', 'a.b.example.com', true],
    ['*.example.com', 'example.com', false],
    ['*.example.com', 'evilexample.com', false],
    ['*.example.com', 'a.example.com.evil.com', false],
    ['*.example.com', 'a.example.com:5000', false],
    ['docker.io, ghcr.io', 'ghcr.io', true],
    ['index.docker.io', 'docker.io', true],
    ['A.example.com', 'a.example.com', true],
  ])('%j, host %s: %s', async (allowed, host, expected) => {
    const settings = await loadRegistrySettings({ ...UNSET, PLUMBLINE_ALLOWED_REGISTRIES: allowed });
    const check = () => assertAllowed(settings, { host, name: 'infra/shop' });
    if (expected) expect(check).not.toThrow();
    else expect(check).toThrow('is not listed in PLUMBLINE_ALLOWED_REGISTRIES');
  });

  it('stalls before anything is dialled', async () => {
    const failed = startTestSession({ settings: { allowed: ['ghcr.io'] } }).send(getFrom('other.invalid', '/blobs/x'));
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
  });

  it.each(['*', '*.', 'https://a.example', 'a*.example.com'])('%j is refused at start', async (allowed) => {
    const failed = loadRegistrySettings({ ...UNSET, PLUMBLINE_ALLOWED_REGISTRIES: allowed });
    await expect(failed).rejects.toThrow('PLUMBLINE_ALLOWED_REGISTRIES');
  });
});

describe('the proxy of the process', () => {
  const PROXIES = { HTTPS_PROXY: 'http://s.proxy:1', HTTP_PROXY: 'http://p.proxy:2' };

  it.each<[string, string, string | undefined]>([
    ['https://a.example/', '', 's.proxy:1'],
    ['http://a.example/', '', 'p.proxy:2'],
    ['https://a.example/', 'a.example', undefined],
    ['https://b.a.example/', 'a.example', undefined],
    ['https://b.a.example/', '.a.example', undefined],
    ['https://ba.example/', 'a.example', 's.proxy:1'],
    ['https://a.example:5000/', 'a.example:5000', undefined],
    ['https://a.example:5001/', 'a.example:5000', 's.proxy:1'],
    ['https://a.example/', 'x, *', undefined],
    ['https://localhost:5000/', '', undefined],
    ['http://127.0.0.1:5000/', '', undefined],
    ['https://[::1]:5000/', '', undefined],
  ])('of %s, NO_PROXY %j: %s', async (url, noProxy, expected) => {
    const settings = await loadRegistrySettings({ ...UNSET, ...PROXIES, NO_PROXY: noProxy });
    expect(proxyOf(settings, new URL(url))?.host).toBe(expected);
  });

  it('that is none is refused at start, without its password', async () => {
    const failed = loadRegistrySettings({ ...UNSET, HTTPS_PROXY: 'ftp://me:secretword@p' });
    await expect(failed).rejects.toThrow('HTTPS_PROXY is no address of a proxy');
    await expect(failed).rejects.not.toThrow('secretword');
  });
});
