import { describe, expect, it, onTestFinished } from 'vitest';
import { readManifest } from './content.ts';
import { digestOf } from './digest.ts';
import { DOCKER_LIST, OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from './registry-client.ts';
import { startTestServer, type Reply, type TestServer } from './test-server.ts';

const MANIFEST = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: {}, layers: [] }));
const DIGEST = digestOf(MANIFEST);
const OTHER_DIGEST = `sha256:${'0'.repeat(64)}`;
const signal = AbortSignal.timeout(20_000);

function clientFor(servers: TestServer[], options: Partial<RegistryClientOptions> = {}): RegistryClient {
  const retry = { baseMs: 1, maxMs: 5, ...options.retry };
  const client = createRegistryClient({ plainHttpHosts: servers.map(({ host }) => host), ...options, retry });
  onTestFinished(() => client.close());
  return client;
}

const repositoryOf = (server: TestServer) => ({ host: server.host, name: 'infra/shop' });
const manifestReply = (over: Reply = {}): Reply => ({
  body: MANIFEST,
  ...over,
  headers: { 'content-type': OCI_MANIFEST, 'docker-content-digest': DIGEST, ...over.headers },
});

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

describe('resolve', () => {
  it('takes the descriptor of a HEAD', async () => {
    const server = await startTestServer(() => manifestReply());
    const descriptor = await clientFor([server]).resolve(repositoryOf(server), 'prod', signal);
    expect(descriptor).toEqual({ mediaType: OCI_MANIFEST, digest: DIGEST, size: MANIFEST.byteLength });
    expect(server.seen.map(({ method, url }) => `${method} ${url}`)).toEqual(['HEAD /v2/infra/shop/manifests/prod']);
  });

  it.each<[string, Reply]>([
    ['names no digest', { headers: { 'content-type': OCI_MANIFEST } }],
    ['is not allowed', { status: 405 }],
    ['has no media type', { headers: { 'docker-content-digest': DIGEST } }],
  ])('hashes the manifest itself where HEAD %s', async (_, head) => {
    const server = await startTestServer(({ method }) =>
      method === 'HEAD' ? head : { body: MANIFEST, headers: { 'content-type': OCI_MANIFEST } },
    );
    const descriptor = await clientFor([server]).resolve(repositoryOf(server), 'prod', signal);
    expect(descriptor).toEqual({ mediaType: OCI_MANIFEST, digest: DIGEST, size: MANIFEST.byteLength });
  });

  it.each<[string, Reply, string, string]>([
    ['a missing tag', { status: 404, body: '{"errors":[{"code":"MANIFEST_UNKNOWN"}]}' }, 'transient', 'SourceNotFound'],
    ['a refusal', { status: 403 }, 'stalled', 'SourceUnauthorized'],
    [
      'a challenge nobody can answer',
      { status: 401, headers: { 'www-authenticate': 'Negotiate' } },
      'stalled',
      'SourceUnauthorized',
    ],
    ['a broken registry', { status: 500 }, 'transient', 'SourceUnreachable'],
    ['a redirect to nowhere', { status: 307 }, 'transient', 'SourceUnreachable'],
    ['a redirect in circles', { status: 307, headers: { location: '/again' } }, 'transient', 'SourceUnreachable'],
  ])('says of %s what to do', async (_, reply, kind, reason) => {
    const server = await startTestServer(() => reply);
    const failed = clientFor([server]).resolve(repositoryOf(server), 'prod', signal);
    await expect(failed).rejects.toMatchObject({ kind, reason });
  });

  it('shows no control characters a registry puts into its errors', async () => {
    const body = JSON.stringify({ errors: [{ code: 'DENIED', message: 'no\n{"level":"info"}\u001b[2J' }] });
    const server = await startTestServer(() => ({ status: 403, body }));
    const failed = clientFor([server]).resolve(repositoryOf(server), 'prod', signal);
    await expect(failed).rejects.toThrow(/DENIED: no \{"level":"info"\} \[2J/);
  });

  it('refuses another digest than the one asked for', async () => {
    const server = await startTestServer(() => manifestReply());
    const failed = clientFor([server]).resolve(repositoryOf(server), OTHER_DIGEST, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'DigestMismatch' });
  });

  it('never speaks plain HTTP to a host that is not listed', async () => {
    const server = await startTestServer(() => manifestReply());
    const failed = clientFor([], { retry: { attempts: 1 } }).resolve(repositoryOf(server), 'prod', signal);
    await expect(failed).rejects.toMatchObject({ reason: 'SourceUnreachable' });
    expect(server.seen).toEqual([]);
  });
});

describe('fetch of a manifest', () => {
  const both = JSON.stringify({ schemaVersion: 2, manifests: [], layers: [], config: {} });
  it.each<[string, string, Reply, string]>([
    ['other bytes', DIGEST, manifestReply({ body: `${MANIFEST.toString()} ` }), 'DigestMismatch'],
    [
      'another digest in the header',
      DIGEST,
      manifestReply({ headers: { 'docker-content-digest': OTHER_DIGEST } }),
      'DigestMismatch',
    ],
    [
      'another media type than its own',
      DIGEST,
      manifestReply({ headers: { 'content-type': DOCKER_LIST } }),
      'ArtifactInvalid',
    ],
    [
      'an HTML page',
      digestOf(Buffer.from('<p>')),
      { body: '<p>', headers: { 'content-type': 'text/html' } },
      'ArtifactInvalid',
    ],
    [
      'index and image at once',
      digestOf(Buffer.from(both)),
      { body: both, headers: { 'content-type': OCI_INDEX } },
      'ArtifactInvalid',
    ],
    [
      'image and index at once',
      digestOf(Buffer.from(both)),
      { body: both, headers: { 'content-type': OCI_MANIFEST } },
      'ArtifactInvalid',
    ],
    ['5 MiB', DIGEST, manifestReply({ body: Buffer.alloc(5 * 1024 * 1024) }), 'ArtifactTooLarge'],
    [
      '5 MiB without a length',
      DIGEST,
      manifestReply({ body: Buffer.alloc(5 * 1024 * 1024), chunked: true }),
      'ArtifactTooLarge',
    ],
  ])('refuses %s', async (_, digest, reply, reason) => {
    const server = await startTestServer(() => reply);
    const wanted = { mediaType: OCI_MANIFEST, digest, size: MANIFEST.byteLength };
    const failed = clientFor([server]).fetch(repositoryOf(server), wanted, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason });
  });

  it('gives the very bytes, also where the content type has parameters', async () => {
    const server = await startTestServer(() =>
      manifestReply({ headers: { 'content-type': `${OCI_MANIFEST}; charset=utf-8` } }),
    );
    const manifest = await readManifest(clientFor([server]), repositoryOf(server), DIGEST, signal);
    expect(manifest).toEqual({ bytes: MANIFEST, mediaType: OCI_MANIFEST });
  });
});

describe('fetch of a blob', () => {
  const bytes = Buffer.from('layer '.repeat(50_000));
  const descriptor = { mediaType: 'x/y', digest: digestOf(bytes), size: bytes.byteLength };
  const flipped = Buffer.from(bytes);
  flipped[100_000] = 0;

  it.each<[string, Reply, string]>([
    ['a flipped byte', { body: flipped }, 'DigestMismatch'],
    ['a shorter body', { body: bytes.subarray(1), chunked: true }, 'DigestMismatch'],
    ['a shorter body that says so', { body: bytes.subarray(1) }, 'DigestMismatch'],
    ['trailing bytes', { body: Buffer.concat([bytes, Buffer.from('x')]), chunked: true }, 'DigestMismatch'],
    ['a cut connection', { body: bytes, cutAfter: 70_000 }, 'SourceUnreachable'],
    ['a cut connection without a length', { body: bytes, cutAfter: 70_000, chunked: true }, 'SourceUnreachable'],
    ['a part only', { status: 206, body: bytes }, 'SourceUnreachable'],
    ['nothing', { status: 404 }, 'SourceNotFound'],
  ])('fails on %s', async (_, reply, reason) => {
    const server = await startTestServer(() => reply);
    const failed = clientFor([server]).fetch(repositoryOf(server), descriptor, signal).then(collect);
    await expect(failed).rejects.toMatchObject({ reason });
  });

  it('follows a redirect to another origin without the credentials', async () => {
    const storage = await startTestServer(() => ({ body: bytes }));
    const server = await startTestServer(({ authorization }): Reply =>
      authorization === undefined
        ? { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } }
        : { status: 307, headers: { location: `${storage.origin}/blob?signed=1` } },
    );
    const client = clientFor([server, storage], { credentials: () => ({ username: 'u', password: 'p' }) });
    expect(await client.fetch(repositoryOf(server), descriptor, signal).then(collect)).toEqual(bytes);
    expect(server.seen.at(-1)?.authorization).toBe(`Basic ${Buffer.from('u:p').toString('base64')}`);
    expect(storage.seen.map(({ url, authorization }) => [url, authorization])).toEqual([['/blob?signed=1', undefined]]);
  });

  it('sends no credentials to its own registry again after a detour', async () => {
    const away: TestServer = await startTestServer(() => ({
      status: 302,
      headers: { location: `${server.origin}/back` },
    }));
    const server: TestServer = await startTestServer(({ url, authorization }): Reply => {
      if (url === '/back') return { body: bytes };
      if (authorization === undefined) return { status: 401, headers: { 'www-authenticate': 'Basic' } };
      return { status: 302, headers: { location: `${away.origin}/` } };
    });
    const client = clientFor([server, away], { credentials: () => ({ username: 'u', password: 'p' }) });
    await client.fetch(repositoryOf(server), descriptor, signal).then(collect);
    expect(server.seen.at(-1)).toMatchObject({ url: '/back', authorization: undefined });
  });

  it('does not answer a challenge of another origin', async () => {
    const thief: TestServer = await startTestServer(() => ({
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="${thief.origin}/token"` },
    }));
    const server = await startTestServer(() => ({ status: 302, headers: { location: `${thief.origin}/x` } }));
    const client = clientFor([server, thief], { credentials: () => ({ username: 'u', password: 'p' }) });
    await expect(client.fetch(repositoryOf(server), descriptor, signal)).rejects.toMatchObject({
      reason: 'SourceUnauthorized',
    });
    expect(thief.seen.map(({ url, authorization }) => [url, authorization])).toEqual([['/x', undefined]]);
  });

  it.each([
    ['plain HTTP nobody allowed', 'http://127.0.0.1:1/x'],
    ['a metadata address', 'https://169.254.169.254/x'],
    ['another scheme', 'file:///etc/passwd'],
  ])('refuses a redirect to %s', async (_, location) => {
    const server = await startTestServer(() => ({ status: 302, headers: { location } }));
    const failed = clientFor([server]).fetch(repositoryOf(server), descriptor, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
  });

  it('refuses a redirect to a name that stands for an address inside', async () => {
    const server = await startTestServer(() => ({ status: 302, headers: { location: 'https://localhost:1/x' } }));
    const failed = clientFor([server], { retry: { attempts: 1 } }).fetch(repositoryOf(server), descriptor, signal);
    await expect(failed).rejects.toThrow('is not public');
  });
});

describe('a registry that stalls', () => {
  const bytes = Buffer.alloc(100_000, 'x');
  const blob = { mediaType: 'x/y', digest: digestOf(bytes), size: bytes.byteLength };
  const manifest = { mediaType: OCI_MANIFEST, digest: DIGEST, size: MANIFEST.byteLength };
  const never = () => new Promise<Reply>(() => undefined);

  it.each<[string, () => Reply | Promise<Reply>, typeof blob]>([
    ['before it answers for a blob', never, blob],
    ['before it answers for a manifest', never, manifest],
    ['in the middle of a blob', () => ({ body: bytes, stallAfter: 50_000 }), blob],
    ['after the head of a manifest', () => manifestReply({ stallAfter: 0 }), manifest],
    ['in the middle of a manifest', () => manifestReply({ stallAfter: 10 }), manifest],
  ])('is given up on when it stalls %s', async (_, answer, descriptor) => {
    const server = await startTestServer(answer);
    const client = clientFor([server], { retry: { attempts: 1 }, timeouts: { headers: 100, idle: 100 } });
    const failed = client.fetch(repositoryOf(server), descriptor, signal).then(collect);
    await expect(failed).rejects.toMatchObject({
      kind: 'transient',
      reason: 'SourceUnreachable',
      message: expect.stringContaining(server.host),
    });
  });

  it('is left at once when nobody waits for it any more', async () => {
    const server = await startTestServer(() => ({ body: bytes, stallAfter: 50_000 }));
    const ending = new AbortController();
    const failed = clientFor([server]).fetch(repositoryOf(server), blob, ending.signal).then(collect);
    setTimeout(() => ending.abort(new Error('enough')), 50);
    await expect(failed).rejects.toThrow('enough');
  });
});

describe('content made to harm', () => {
  const nested = Buffer.from('['.repeat(100_000) + ']'.repeat(100_000));

  it.each<[string, Buffer, string]>([
    ['100,000 nested lists', nested, 'not a JSON object'],
    ['no JSON', Buffer.from('{'), 'not a JSON object'],
    ['null', Buffer.from('null'), 'not a JSON object'],
  ])('is refused as a manifest: %s', async (_, body, message) => {
    const digest = digestOf(body);
    const server = await startTestServer(() => ({ body, headers: { 'content-type': OCI_MANIFEST } }));
    const wanted = { mediaType: OCI_MANIFEST, digest, size: body.byteLength };
    const failed = clientFor([server]).fetch(repositoryOf(server), wanted, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toThrow(`${server.host}/infra/shop@${digest}`);
  });

  it('is not even asked for where its descriptor says that a manifest has 5 MiB', async () => {
    const server = await startTestServer(() => manifestReply());
    const wanted = { mediaType: OCI_INDEX, digest: DIGEST, size: 5 * 1024 * 1024 };
    const failed = clientFor([server]).fetch(repositoryOf(server), wanted, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactTooLarge' });
    expect(server.seen).toEqual([]);
  });

  it.each([
    ['a manifest', { mediaType: OCI_MANIFEST, digest: DIGEST, size: MANIFEST.byteLength }],
    ['a blob', { mediaType: 'x/y', digest: DIGEST, size: 5 }],
  ])('is given up on where %s redirects in circles', async (_, descriptor) => {
    const server = await startTestServer(({ url }) => ({ status: 307, headers: { location: `${url}x` } }));
    const client = clientFor([server], { retry: { attempts: 1 } });
    const failed = client.fetch(repositoryOf(server), descriptor, signal).then(collect);
    await expect(failed).rejects.toMatchObject({ reason: 'SourceUnreachable' });
    await expect(failed).rejects.toThrow('redirected more than 5 times');
    expect(server.seen).toHaveLength(6);
  });

  it.each([
    ['a size of another manifest', { size: MANIFEST.byteLength + 1 }, 'DigestMismatch'],
    ['another type', { mediaType: DOCKER_LIST }, 'ArtifactInvalid'],
  ])('is refused where its descriptor has %s', async (_, more, reason) => {
    const server = await startTestServer(() => manifestReply());
    const wanted = { mediaType: OCI_MANIFEST, digest: DIGEST, size: MANIFEST.byteLength, ...more };
    const failed = clientFor([server]).fetch(repositoryOf(server), wanted, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason });
  });
});

describe('tags', () => {
  const page = (tags: unknown, link?: string): Reply => ({
    body: JSON.stringify({ name: 'infra/shop', tags }),
    ...(link === undefined ? {} : { headers: { link: `<${link}>; rel="next"` } }),
  });

  it('follows the pages and passes over what is no tag', async () => {
    const server = await startTestServer(({ url }) =>
      url.includes('last=b') ? page(['c', '-no', 7]) : page(['a', 'b'], '/v2/infra/shop/tags/list?n=2&last=b'),
    );
    expect(await clientFor([server]).tags(repositoryOf(server), signal)).toEqual(['a', 'b', 'c']);
  });

  it('goes on after a short and an empty page, and stops only where no link is', async () => {
    const server = await startTestServer(({ url }) => {
      if (url.endsWith('last=a')) return page([], '/v2/infra/shop/tags/list?last=b');
      return url.endsWith('last=b') ? page(['z']) : page(['a'], '/v2/infra/shop/tags/list?last=a');
    });
    expect(await clientFor([server]).tags(repositoryOf(server), signal)).toEqual(['a', 'z']);
  });

  it('is empty where a registry says null', async () => {
    const server = await startTestServer(() => page(null));
    expect(await clientFor([server]).tags(repositoryOf(server), signal)).toEqual([]);
  });

  it.each([
    ['pages in a circle', '/v2/infra/shop/tags/list?n=1000', 'circle'],
    ['a page at another origin', 'https://evil.example.com/tags', 'refused the link'],
  ])('fails on %s', async (_, link, message) => {
    const server = await startTestServer(() => page(['a'], link));
    await expect(clientFor([server]).tags(repositoryOf(server), signal)).rejects.toThrow(message);
  });

  it('fails on pages without end', async () => {
    let count = 0;
    const server = await startTestServer(() => page(['a'], `/v2/infra/shop/tags/list?last=${(count += 1)}`));
    await expect(clientFor([server]).tags(repositoryOf(server), signal)).rejects.toThrow('more than 200 pages');
  });
});
