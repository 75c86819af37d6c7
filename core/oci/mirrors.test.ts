import { describe, expect, it } from 'vitest';
import { createMirrors } from './mirrors.ts';
import { NO_REGISTRY_SETTINGS, type Mirror, type RegistryEntry } from './registries.ts';
import { readAll, startTestServer, type Reply, type TestServer } from './test-server.ts';
import { getFrom, startTestSession, type TestSessionOptions } from './test-session.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const BLOB = `/blobs/${DIGEST}`;
const CHALLENGE: Reply = { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } };

const mirrorOf = ({ host }: TestServer, prefix = ''): Mirror => ({ host, plainHttp: true, prefix });

async function startMirrored(
  replies: { mirrors: Reply[]; registry?: Reply },
  over: TestSessionOptions = {},
  entry: Partial<RegistryEntry> = {},
) {
  const registry = await startTestServer(() => replies.registry ?? { body: 'registry' });
  const mirrors = await Promise.all(
    replies.mirrors.map((reply, index) => startTestServer(() => ({ body: `mirror ${index}`, ...reply }))),
  );
  const session = startTestSession({
    ...over,
    entries: {
      [registry.host]: { plainHttp: true, mirrors: mirrors.map((mirror) => mirrorOf(mirror)), ...entry },
    },
  });
  return { registry, mirrors, session };
}

async function bodyOf(response: { body: AsyncIterable<Uint8Array> }): Promise<string> {
  return (await readAll(response.body)).toString();
}

describe('mirrors', () => {
  it('serve content by digest before the registry does, in their order', async () => {
    const { registry, mirrors, session } = await startMirrored({ mirrors: [{}, {}] });
    expect(await bodyOf(await session.send(getFrom(registry.host, BLOB)))).toBe('mirror 0');
    expect(mirrors.map(({ seen }) => seen.length)).toEqual([1, 0]);
    expect(registry.seen).toEqual([]);
  });

  it.each<[string, Reply]>([
    ['lacks it', { status: 404 }],
    ['fails', { status: 500 }],
    ['wants credentials nobody set', CHALLENGE],
    ['throttles', { status: 429, headers: { 'retry-after': '3600' } }],
    ['redirects without end', { status: 302, headers: { location: '/again' } }],
    ['answers with other content', { headers: { 'docker-content-digest': `sha256:${'b'.repeat(64)}` } }],
  ])('are passed over by one that %s', async (_, reply) => {
    const { registry, session } = await startMirrored({ mirrors: [reply, {}] });
    expect(await bodyOf(await session.send(getFrom(registry.host, BLOB)))).toBe('mirror 1');
    expect(registry.seen).toEqual([]);
  });

  it('give way to the registry at last', async () => {
    const { registry, session } = await startMirrored({ mirrors: [{ status: 404 }, { status: 503 }] });
    expect(await bodyOf(await session.send(getFrom(registry.host, BLOB)))).toBe('registry');
  });

  it('are named when the registry fails too', async () => {
    const { registry, mirrors, session } = await startMirrored({
      mirrors: [{ status: 404 }],
      registry: { status: 503 },
    });
    const failed = session.send(getFrom(registry.host, BLOB));
    await expect(failed).rejects.toThrow(`${registry.host}/infra/shop@${DIGEST} answered 503`);
    await expect(failed).rejects.toThrow(`mirror ${mirrors[0]?.host} answered 404`);
  });

  it.each<[string, string]>([
    ['a tag', '/manifests/prod'],
    ['the list of tags', '/tags/list?n=1000'],
    ['referrers', `/referrers/${DIGEST}`],
  ])('are not asked for %s, unless names are believed of them', async (_, target) => {
    const plain = await startMirrored({ mirrors: [{}] });
    expect(await bodyOf(await plain.session.send(getFrom(plain.registry.host, target)))).toBe('registry');
    const trusted = await startMirrored({ mirrors: [{}] }, {}, { mirrorTags: true });
    expect(await bodyOf(await trusted.session.send(getFrom(trusted.registry.host, target)))).toBe('mirror 0');
  });

  it('go on with a list of their own, with their own credentials', async () => {
    const mirror = await startTestServer(({ authorization }) => (authorization === undefined ? CHALLENGE : {}));
    const session = startTestSession({
      entries: { 'registry.invalid': { mirrors: [mirrorOf(mirror)], mirrorTags: true } },
      mirrorCredentials: () => ({ username: 'mirror', password: 'm' }),
    });
    const target = new URL(`${mirror.origin}/v2/infra/shop/tags/list?n=1&last=a`);
    expect((await session.send(getFrom('registry.invalid', '', { target }))).status).toBe(200);
    const header = `Basic ${Buffer.from('mirror:m').toString('base64')}`;
    expect(mirror.seen.map(({ authorization }) => authorization)).toEqual([undefined, header]);
  });

  it('are not asked when something is pushed', async () => {
    const { registry, mirrors, session } = await startMirrored({ mirrors: [{}] });
    await session.send(getFrom(registry.host, BLOB, { method: 'HEAD', access: 'pull,push' }));
    expect(mirrors[0]?.seen).toEqual([]);
    expect(registry.seen).toHaveLength(1);
  });

  it('never get the credentials of the registry, but their own', async () => {
    const own = { username: 'mirror', password: 'm' };
    const asked: string[] = [];
    const { registry, mirrors, session } = await startMirrored(
      { mirrors: [CHALLENGE], registry: CHALLENGE },
      {
        credentials: () => ({ username: 'registry', password: 'r' }),
        mirrorCredentials: (host) => {
          asked.push(host);
          return own;
        },
      },
    );
    await session.send(getFrom(registry.host, BLOB));
    const header = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    expect(mirrors[0]?.seen.map(({ authorization }) => authorization)).toEqual([undefined, header('mirror:m')]);
    expect(registry.seen.map(({ authorization }) => authorization)).toEqual([undefined, header('registry:r')]);
    expect(asked).toEqual([mirrors[0]?.host]);
  });

  it('put their prefix before the name', async () => {
    const mirror = await startTestServer(() => ({}));
    const session = startTestSession({ entries: { 'registry.invalid': { mirrors: [mirrorOf(mirror, 'proxy/hub')] } } });
    await session.send(getFrom('registry.invalid', BLOB));
    expect(mirror.seen.map(({ url }) => url)).toEqual([`/v2/proxy/hub/infra/shop${BLOB}`]);
  });

  it('that cannot be reached are left out for a while', async () => {
    const registry = await startTestServer(() => ({ body: 'registry' }));
    const mirrors = createMirrors({
      ...NO_REGISTRY_SETTINGS,
      entries: new Map([
        [
          registry.host,
          {
            mirrors: [{ host: '127.0.0.1:1', plainHttp: true, prefix: '' }],
            mirrorTags: false,
            plainHttp: true,
            tls: {},
            proxy: undefined,
            privateHosts: [],
            timeouts: {},
          },
        ],
      ]),
    });
    const repository = { host: registry.host, name: 'infra/shop' };
    const target = `/v2/infra/shop${BLOB}`;
    expect(mirrors.of(repository, target)).toHaveLength(1);
    mirrors.rest('127.0.0.1:1');
    expect(mirrors.of(repository, target)).toEqual([]);
  });

  it('end with the caller', async () => {
    const { registry, session } = await startMirrored({ mirrors: [{ stallAfter: 0, body: 'x' }] });
    const controller = new AbortController();
    const stop = new Error('lease lost');
    controller.abort(stop);
    const failed = session.send(getFrom(registry.host, BLOB, { signal: controller.signal }));
    await expect(failed).rejects.toBe(stop);
  });
});
