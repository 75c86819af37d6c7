import { describe, expect, it, onTestFinished } from 'vitest';
import { contentOf, readBlob, readManifest } from './content.ts';
import { digestOf } from './digest.ts';
import { DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import type { RegistryClient, RegistryClientOptions } from './registry-client.ts';
import { createRegistryClient } from './registry-client.ts';
import { startTestServer, type Reply, type Seen, type TestServer } from './test-server.ts';

// Rules of distribution-spec v1.1.1 for clients that no other test shows; docs/distribution-spec.md lists them all.

const signal = AbortSignal.timeout(20_000);
const MANIFEST = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: {}, layers: [] }));
const bytes = Buffer.from('a layer of some bytes');
const blob = contentOf(bytes, 'application/octet-stream');

function clientFor(server: TestServer, options: Partial<RegistryClientOptions> = {}): RegistryClient {
  const retry = { attempts: 1, baseMs: 1, maxMs: 5 };
  const client = createRegistryClient({ plainHttpHosts: [server.host], retry, ...options });
  onTestFinished(() => client.close());
  return client;
}
const repositoryOf = (server: TestServer) => ({ host: server.host, name: 'infra/shop' });
const manifestReply = (headers: Record<string, string> = {}, body = MANIFEST): Reply => ({
  body,
  headers: { 'content-type': OCI_MANIFEST, 'docker-content-digest': digestOf(body), ...headers },
});

describe('pulling', () => {
  it('says which manifests it takes', async () => {
    const server = await startTestServer(() => manifestReply());
    await readManifest(clientFor(server), repositoryOf(server), digestOf(MANIFEST), signal);
    for (const { method, headers } of server.seen) {
      const accepted = String(headers.accept).split(', ');
      expect([method, ...accepted]).toEqual(
        expect.arrayContaining([OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST]),
      );
    }
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'GET']);
  });

  it.each(['a/b', '../blobs/x', '-a', 'a b', 'a?b', '', 'x'.repeat(129), 'sha256:abc', 'md5:00'])(
    'asks for nothing under %j, which is neither a tag nor a digest',
    async (reference) => {
      const server = await startTestServer(() => manifestReply());
      const failed = clientFor(server).resolve(repositoryOf(server), reference, signal);
      await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
      expect(server.seen).toEqual([]);
    },
  );

  it('takes a blob for what its bytes are, whatever digest a header names', async () => {
    const server = await startTestServer(() => ({
      body: bytes,
      headers: { 'docker-content-digest': digestOf(MANIFEST) },
    }));
    const { descriptor } = blob;
    const read = await readBlob(clientFor(server), repositoryOf(server), descriptor, 100, signal);
    expect(read).toEqual(bytes);
    expect(server.seen.map(({ url }) => url)).toEqual([`/v2/infra/shop/blobs/${descriptor.digest}`]);
  });

  it('needs none of the headers of Docker', async () => {
    const server = await startTestServer(({ method }) =>
      method === 'HEAD' ? { status: 404 } : { body: MANIFEST, headers: { 'content-type': OCI_MANIFEST } },
    );
    const found = await clientFor(server).resolve(repositoryOf(server), 'prod', signal);
    expect(found).toEqual({ mediaType: OCI_MANIFEST, digest: digestOf(MANIFEST), size: MANIFEST.byteLength });
  });

  it.each<[string, string]>([
    ['JSON of the specification', '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m","detail":{"a":1}}]}'],
    ['a code of old Docker registries', '{"errors":[{"code":"MANIFEST_UNVERIFIED"}]}'],
    ['a code nobody knows', '{"errors":[{"code":"NEW_CODE"}]}'],
    ['no message', '{"errors":[]}'],
    ['HTML', '<h1>Not found</h1>'],
    ['no body', ''],
    ['JSON of another shape', '["a"]'],
  ])('reads an error by its status, told as %s', async (_, body) => {
    const server = await startTestServer(() => ({ status: 404, body }));
    const failed = clientFor(server).resolve(repositoryOf(server), 'prod', signal);
    await expect(failed).rejects.toMatchObject({ kind: 'transient', reason: 'SourceNotFound' });
  });
});

describe('pushing', () => {
  /** A registry that takes everything; uploads are at `location`. */
  const startTaking = (location: string, more: Record<string, string> = {}) =>
    startTestServer(({ method, headers }: Seen): Reply => {
      if (method === 'HEAD') return { status: 404 };
      if (method === 'POST') return { status: 202, headers: { location, ...more } };
      if (method !== 'PATCH') return { status: 201 };
      const range = `0-${String(headers['content-range']).split('-')[1] ?? ''}`;
      return { status: 202, headers: { location, range } };
    });

  it.each(['/v2/infra/shop/blobs/uploads/1?_state=a%2Fb', '../uploads/2'])(
    'goes on at an upload location that is relative: %s',
    async (location) => {
      const server = await startTaking(location);
      await clientFor(server).pushBlob(repositoryOf(server), blob, signal);
      const expected = new URL(location, `${server.origin}/v2/infra/shop/blobs/uploads/`);
      const { pathname, search } = expected;
      const digest = encodeURIComponent(blob.descriptor.digest);
      const query = search === '' ? `?digest=${digest}` : `${search}&digest=${digest}`;
      expect(server.seen.at(-1)).toMatchObject({ method: 'PUT', url: `${pathname}${query}` });
    },
  );

  it('sends the length and type of a whole blob, and none with the request that opens it', async () => {
    const server = await startTaking('/v2/infra/shop/blobs/uploads/1');
    await clientFor(server).pushBlob(repositoryOf(server), blob, signal);
    const [, post, put] = server.seen;
    expect(post?.headers['content-length']).toBe('0');
    expect(put?.headers).toMatchObject({
      'content-length': String(bytes.byteLength),
      'content-type': 'application/octet-stream',
    });
    expect(put?.body).toEqual(bytes);
  });

  it('sends chunks in their order, with inclusive ranges from 0 on, and closes with PUT and the whole digest', async () => {
    const server = await startTaking('/v2/infra/shop/blobs/uploads/1');
    await clientFor(server, { chunkBytes: 8 }).pushBlob(repositoryOf(server), blob, signal);
    const patches = server.seen.filter(({ method }) => method === 'PATCH');
    expect(patches.map(({ headers }) => headers['content-range'])).toEqual(['0-7', '8-15', '16-20']);
    for (const { headers } of patches) expect(headers['content-range']).toMatch(/^[0-9]+-[0-9]+$/);
    expect(patches.map(({ headers, body }) => Number(headers['content-length']) === body.byteLength)).toEqual([
      true,
      true,
      true,
    ]);
    expect(Buffer.concat(patches.map(({ body }) => body))).toEqual(bytes);
    expect(server.seen.at(-1)?.method).toBe('PUT');
    expect(server.seen.at(-1)?.url).toContain(encodeURIComponent(blob.descriptor.digest));
    expect(server.seen.find(({ method }) => method === 'POST')?.headers['content-length']).toBe('0');
  });

  it('goes on with the location of each answer', async () => {
    let chunks = 0;
    const server = await startTestServer(({ method, headers }): Reply => {
      if (method === 'HEAD') return { status: 404 };
      if (method === 'PUT') return { status: 201 };
      const end = String(headers['content-range']).split('-')[1];
      const range: Record<string, string> = method === 'PATCH' ? { range: `0-${end ?? ''}` } : {};
      return { status: 202, headers: { location: `/upload/${(chunks += 1)}`, ...range } };
    });
    await clientFor(server, { chunkBytes: 8 }).pushBlob(repositoryOf(server), blob, signal);
    const paths = server.seen.slice(2).map(({ method, url }) => `${method} ${url.split('?')[0]}`);
    expect(paths).toEqual(['PATCH /upload/1', 'PATCH /upload/2', 'PATCH /upload/3', 'PUT /upload/4']);
  });

  it.each(['prod', digestOf(MANIFEST)])(
    'sends a manifest with its own type, without parameters, as %s',
    async (reference) => {
      const server = await startTaking('/');
      const manifest = { bytes: MANIFEST, mediaType: OCI_MANIFEST };
      await clientFor(server).pushManifest(repositoryOf(server), reference, manifest, signal);
      expect(server.seen).toMatchObject([
        { method: 'PUT', url: `/v2/infra/shop/manifests/${reference}`, headers: { 'content-type': OCI_MANIFEST } },
      ]);
      expect(server.seen[0]?.body).toEqual(MANIFEST);
    },
  );

  it.each([OCI_INDEX, `${OCI_MANIFEST}; charset=utf-8`])(
    'never sends a manifest as %s that says it is another',
    async (type) => {
      const server = await startTaking('/');
      const manifest = { bytes: MANIFEST, mediaType: type };
      const failed = clientFor(server).pushManifest(repositoryOf(server), 'prod', manifest, signal);
      await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
      expect(server.seen).toEqual([]);
    },
  );

  it.each(['a/b', '../x', ''])('pushes nothing under %j', async (reference) => {
    const server = await startTaking('/');
    const manifest = { bytes: MANIFEST, mediaType: OCI_MANIFEST };
    const failed = clientFor(server).pushManifest(repositoryOf(server), reference, manifest, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
    expect(server.seen).toEqual([]);
  });
});

describe('pushing what has a subject to a registry without the referrers API', () => {
  const subject = { mediaType: OCI_MANIFEST, digest: digestOf(MANIFEST), size: MANIFEST.byteLength };
  const tag = `/v2/infra/shop/manifests/${subject.digest.replace(':', '-')}`;
  const signature = (more: object) =>
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, layers: [], subject, ...more }));
  const config = { mediaType: 'application/vnd.test.config.v1+json', digest: digestOf(bytes), size: 1 };

  async function push(server: TestServer, attached: Buffer): Promise<void> {
    const manifest = { bytes: attached, mediaType: OCI_MANIFEST };
    await clientFor(server).pushManifest(repositoryOf(server), digestOf(attached), manifest, signal);
  }

  it('lists it under the type of its config where it names no other, with all its annotations', async () => {
    let index = '';
    const server = await startTestServer(({ method, url, body }): Reply => {
      if (method === 'PUT' && url === tag) index = body.toString();
      if (method === 'PUT') return { status: 201 };
      return index === '' ? { status: 404 } : manifestReply({ 'content-type': OCI_INDEX }, Buffer.from(index));
    });
    const annotations = { a: '1', b: '2' };
    const attached = signature({ config, annotations });
    await push(server, attached);
    const entry = { mediaType: OCI_MANIFEST, digest: digestOf(attached), size: attached.byteLength };
    expect(JSON.parse(index)).toEqual({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [{ ...entry, artifactType: config.mediaType, annotations }],
    });
  });

  it('fails, and writes nothing, where the tag of referrers is something else', async () => {
    const server = await startTestServer(({ method }): Reply => (method === 'PUT' ? { status: 201 } : manifestReply()));
    const attached = signature({ config });
    await expect(push(server, attached)).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
    const written = server.seen.filter(({ method }) => method === 'PUT').map(({ url }) => url);
    expect(written).toEqual([`/v2/infra/shop/manifests/${digestOf(attached)}`]);
  });
});

it('pushes and pulls a manifest of 4 MB', async () => {
  const annotations = { filling: 'x'.repeat(4_000_000) };
  const large = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: {}, layers: [], annotations }),
  );
  const server = await startTestServer(({ method }) => (method === 'PUT' ? { status: 201 } : manifestReply({}, large)));
  const client = clientFor(server);
  await client.pushManifest(repositoryOf(server), 'large', { bytes: large, mediaType: OCI_MANIFEST }, signal);
  expect(server.seen[0]?.body.equals(large)).toBe(true);
  const pulled = await readManifest(client, repositoryOf(server), digestOf(large), signal);
  expect(pulled.bytes.equals(large)).toBe(true);
});

describe('warnings of a registry', () => {
  it('are told once each, and change nothing', async () => {
    const warning = '299 - "This registry will be removed soon.", 299 - "Your token expires soon."';
    const server = await startTestServer(() => manifestReply({ warning }));
    const quiet = await startTestServer(() => manifestReply());
    const told: string[] = [];
    const client = clientFor(server, { onWarning: (host, text) => told.push(`${host}: ${text}`) });
    const found = await client.resolve(repositoryOf(server), 'prod', signal);
    await client.resolve(repositoryOf(server), 'prod', signal);
    expect(told).toEqual([
      `${server.host}: This registry will be removed soon.`,
      `${server.host}: Your token expires soon.`,
    ]);
    expect(found).toEqual(await clientFor(quiet).resolve(repositoryOf(quiet), 'prod', signal));
    expect(server.seen).toHaveLength(2);
  });
});
