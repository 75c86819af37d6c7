import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { stalled } from '#core/domain/errors.ts';
import { contentOf } from './content.ts';
import { digestOf } from './digest.ts';
import { OCI_MANIFEST } from './media-types.ts';
import { createRegistryClient } from './registry-client.ts';
import { startTestServer, type Reply, type Seen, type TestServer } from './test-server.ts';

const signal = AbortSignal.timeout(20_000);
const bytes = Buffer.from('a layer');
const layer = contentOf(bytes, 'x/y');
const { digest } = layer.descriptor;

function clientFor(servers: { host: string }[], options: { chunkBytes?: number } = {}) {
  const plainHttpHosts = servers.map(({ host }) => host);
  const retry = { attempts: 3, baseMs: 1, maxMs: 5 };
  const client = createRegistryClient({
    plainHttpHosts,
    retry,
    credentials: () => ({ username: 'u', password: 'p' }),
    ...options,
  });
  onTestFinished(() => client.close());
  return client;
}

const repositoryOf = (server: { host: string }) => ({ host: server.host, name: 'a/b' });
const steps = (server: TestServer) => server.seen.map(({ method, url }) => `${method} ${url}`);

/** A registry that takes uploads; `put` answers the PUT of a blob. */
function startUploads(put: (seen: Seen) => Reply, location = '/v2/a/b/blobs/uploads/1?_state=x%2By') {
  return startTestServer((seen) => {
    if (seen.method === 'HEAD') return { status: 404 };
    if (seen.method === 'POST') return { status: 202, headers: { location } };
    return put(seen);
  });
}

/** A registry that reads nothing of a PUT until `take`, and then throws it away. */
async function startSink(): Promise<{ host: string; take(): void }> {
  const { promise: taken, resolve: take } = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    void (async () => {
      if (request.method === 'PUT') await taken;
      const status = { HEAD: 404, POST: 202 }[request.method ?? ''] ?? 201;
      request.resume().on('end', () => response.writeHead(status, { location: '/v2/a/b/blobs/uploads/1' }).end());
    })();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => void server.close());
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the sink has no port');
  return { host: `127.0.0.1:${address.port}`, take };
}

describe('pushBlob', () => {
  it('opens an upload and puts the bytes, keeping the state of the registry as it is', async () => {
    const server = await startUploads(() => ({ status: 201 }));
    expect(await clientFor([server]).pushBlob(repositoryOf(server), layer, signal)).toEqual({ existed: false });
    expect(steps(server)).toEqual([
      `HEAD /v2/a/b/blobs/${digest}`,
      'POST /v2/a/b/blobs/uploads/',
      `PUT /v2/a/b/blobs/uploads/1?_state=x%2By&digest=${encodeURIComponent(digest)}`,
    ]);
    expect(server.seen.at(-1)?.body).toEqual(bytes);
  });

  it('sends nothing when the registry has it', async () => {
    const server = await startTestServer(() => ({ status: 200 }));
    expect(await clientFor([server]).pushBlob(repositoryOf(server), layer, signal)).toEqual({ existed: true });
    expect(steps(server)).toEqual([`HEAD /v2/a/b/blobs/${digest}`]);
  });

  it('starts over when the upload breaks', async () => {
    let puts = 0;
    const server = await startUploads(() => ({ status: (puts += 1) === 1 ? 503 : 201 }));
    await clientFor([server]).pushBlob(repositoryOf(server), layer, signal);
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT', 'POST', 'PUT']);
  });

  it('sends no credentials to an upload at another origin', async () => {
    const storage = await startTestServer(() => ({ status: 201 }));
    const server = await startTestServer(({ method, authorization }): Reply => {
      if (authorization === undefined) return { status: 401, headers: { 'www-authenticate': 'Basic' } };
      return method === 'HEAD' ? { status: 404 } : { status: 202, headers: { location: `${storage.origin}/up` } };
    });
    await clientFor([server, storage]).pushBlob(repositoryOf(server), layer, signal);
    expect(storage.seen.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  it.each<[string, Reply, string, string]>([
    ['no right to push', { status: 403 }, 'stalled', 'SourceUnauthorized'],
    ['no such place', { status: 404 }, 'transient', 'SourceNotFound'],
    ['a full registry', { status: 507 }, 'transient', 'SourceUnreachable'],
  ])('says of %s what to do', async (_, reply, kind, reason) => {
    const server = await startUploads(() => reply);
    const failed = clientFor([server]).pushBlob(repositoryOf(server), layer, signal);
    await expect(failed).rejects.toMatchObject({ kind, reason });
  });

  it('fails when no location is given', async () => {
    const server = await startTestServer(({ method }) => ({ status: method === 'HEAD' ? 404 : 202 }));
    const failed = clientFor([server]).pushBlob(repositoryOf(server), layer, signal);
    await expect(failed).rejects.toThrow('no upload location');
  });
});

describe('pushBlob in chunks', () => {
  const big = randomBytes(2500);
  const content = contentOf(big, 'x/y');

  /** A registry that takes chunks and checks that each goes on where the last ended. */
  async function startChunks(
    headers: Record<string, string> = {},
    patched: (at: number) => Reply | undefined = () => undefined,
  ) {
    let stored = Buffer.alloc(0);
    let opened = 0;
    const server = await startTestServer((seen): Reply => {
      const { method, url, body } = seen;
      if (method === 'HEAD') return { status: 404 };
      if (method === 'POST') {
        stored = Buffer.alloc(0);
        return { status: 202, headers: { location: `/v2/a/b/blobs/uploads/${(opened += 1)}`, ...headers } };
      }
      if (method === 'PUT' && body.byteLength > 0) return { status: 413 };
      if (method === 'PUT') return { status: digestOf(stored) === content.descriptor.digest ? 201 : 400 };
      const wrong = patched(stored.byteLength);
      if (wrong !== undefined) return wrong;
      if (seen.headers['content-range'] !== `${stored.byteLength}-${stored.byteLength + body.byteLength - 1}`) {
        return { status: 416 };
      }
      stored = Buffer.concat([stored, body]);
      return { status: 202, headers: { location: `${url}x`, range: `0-${stored.byteLength - 1}` } };
    });
    const sizes = () => server.seen.filter(({ method }) => method === 'PATCH').map(({ body }) => body.byteLength);
    return { server, sizes, stored: () => stored };
  }

  it('follows the location of each answer and closes with the digest', async () => {
    const { server, sizes, stored } = await startChunks();
    await clientFor([server], { chunkBytes: 1000 }).pushBlob(repositoryOf(server), content, signal);
    expect(sizes()).toEqual([1000, 1000, 500]);
    expect(stored()).toEqual(big);
    expect(server.seen.at(-1)?.url).toBe(
      `/v2/a/b/blobs/uploads/1xxx?digest=${encodeURIComponent(content.descriptor.digest)}`,
    );
  });

  it('sends chunks no smaller than the registry wants', async () => {
    const { server, sizes } = await startChunks({ 'oci-chunk-min-length': '2000' });
    await clientFor([server], { chunkBytes: 1000 }).pushBlob(repositoryOf(server), content, signal);
    expect(sizes()).toEqual([2000, 500]);
  });

  it('is fallen back to where the whole is too large', async () => {
    const { server, stored } = await startChunks();
    await clientFor([server]).pushBlob(repositoryOf(server), content, signal);
    expect(stored()).toEqual(big);
    expect(server.seen.map(({ method }) => method)).toEqual(['HEAD', 'POST', 'PUT', 'POST', 'PATCH', 'PUT']);
  });

  it('starts over where a chunk is lost', async () => {
    let broken = 0;
    const { server, stored } = await startChunks({}, (at) =>
      at === 1000 && (broken += 1) === 1 ? { status: 503 } : undefined,
    );
    await clientFor([server], { chunkBytes: 1000 }).pushBlob(repositoryOf(server), content, signal);
    expect(stored()).toEqual(big);
  });

  it.each<[string, Record<string, string>, Reply | undefined, string, string]>([
    [
      'wants chunks of a terabyte',
      { 'oci-chunk-min-length': '1000000000000' },
      undefined,
      'stalled',
      'more than the allowed',
    ],
    [
      'holds something else than was sent',
      {},
      { status: 202, headers: { location: '/v2/a/b/blobs/uploads/9', range: '0-7' } },
      'transient',
      'holds 0-7 after bytes 0-999',
    ],
    ['names no place to go on', {}, { status: 202 }, 'transient', 'no upload location'],
    ['refuses every range', {}, { status: 416 }, 'transient', 'answered 416'],
  ])('fails in a sentence where the registry %s', async (_, headers, reply, kind, message) => {
    const { server } = await startChunks(headers, () => reply);
    const failed = clientFor([server], { chunkBytes: 1000 }).pushBlob(repositoryOf(server), content, signal);
    await expect(failed).rejects.toMatchObject({ kind });
    await expect(failed).rejects.toThrow(message);
  });
});

describe('pushBlob of what another repository has', () => {
  const mounted = { ...layer, mountFrom: 'c/d' };

  it('lets the registry mount it', async () => {
    const server = await startTestServer(({ method }) => ({ status: method === 'HEAD' ? 404 : 201 }));
    expect(await clientFor([server]).pushBlob(repositoryOf(server), mounted, signal)).toEqual({ existed: false });
    expect(steps(server).at(-1)).toBe(`POST /v2/a/b/blobs/uploads/?mount=${encodeURIComponent(digest)}&from=c%2Fd`);
  });

  it.each<[string, Reply]>([
    ['cannot mount', { status: 202, headers: { location: '/v2/a/b/blobs/uploads/1' } }],
    ['refuses to', { status: 403 }],
    ['does not know what that is', { status: 400 }],
  ])('sends it where the registry %s', async (_, reply) => {
    const server = await startTestServer(({ method, url }): Reply => {
      if (method === 'HEAD') return { status: 404 };
      if (method === 'PUT') return { status: 201 };
      return url.includes('mount=') ? reply : { status: 202, headers: { location: '/v2/a/b/blobs/uploads/2' } };
    });
    await clientFor([server]).pushBlob(repositoryOf(server), mounted, signal);
    expect(server.seen.at(-1)?.body).toEqual(bytes);
  });
});

describe('pushBlob of a stream', () => {
  it('opens it anew for every attempt and closes each', async () => {
    let [opened, closed, puts] = [0, 0, 0];
    const server = await startUploads(() => ({ status: (puts += 1) < 3 ? 502 : 201 }));
    const content = {
      descriptor: layer.descriptor,
      async *open() {
        opened += 1;
        try {
          for (const byte of bytes) yield Buffer.from([byte]);
        } finally {
          closed += 1;
        }
      },
    };
    await clientFor([server]).pushBlob(repositoryOf(server), content, signal);
    expect([opened, closed, puts]).toEqual([3, 3, 3]);
    expect(server.seen.at(-1)?.body).toEqual(bytes);
  });

  it('asks for no more of a large layer than the registry takes', async () => {
    const chunk = randomBytes(1024 * 1024);
    const [count, hash] = [100, createHash('sha256')];
    for (let at = 0; at < count; at += 1) hash.update(chunk);
    let asked = 0;
    const content = {
      descriptor: { mediaType: 'x/y', digest: `sha256:${hash.digest('hex')}`, size: count * chunk.byteLength },
      async *open() {
        for (; asked < count; asked += 1) yield chunk;
      },
    };
    const { host, take } = await startSink();
    const pushed = clientFor([{ host }]).pushBlob({ host, name: 'a/b' }, content, signal);
    await sleep(300);
    // What is on its way fills the buffers of two sockets, and no more.
    expect(asked).toBeLessThan(30);
    take();
    expect(await pushed).toEqual({ existed: false });
    expect(asked).toBe(count);
  });

  it('ends with the error of its source', async () => {
    const server = await startUploads(() => ({ status: 201 }));
    const failure = stalled('DigestMismatch', 'the other registry is broken');
    const content = {
      descriptor: layer.descriptor,
      async *open() {
        yield Buffer.from('a');
        throw failure;
      },
    };
    await expect(clientFor([server]).pushBlob(repositoryOf(server), content, signal)).rejects.toBe(failure);
  });

  it('is ended by its signal while the registry reads nothing', async () => {
    const { host } = await startSink();
    const ending = new AbortController();
    const failed = clientFor([{ host }]).pushBlob({ host, name: 'a/b' }, layer, ending.signal);
    setTimeout(() => ending.abort(new Error('enough')), 50);
    await expect(failed).rejects.toThrow('enough');
  });
});

describe('pushManifest and tag', () => {
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: {}, layers: [] }));

  it('fails when the registry stored something else', async () => {
    const other = digestOf(Buffer.from('other'));
    const server = await startTestServer(() => ({ status: 201, headers: { 'docker-content-digest': other } }));
    const push = { bytes: manifest, mediaType: OCI_MANIFEST };
    const failed = clientFor([server]).pushManifest(repositoryOf(server), 'v1', push, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'DigestMismatch' });
  });

  it('tags by pushing the very same bytes', async () => {
    const headers = { 'content-type': OCI_MANIFEST, 'docker-content-digest': digestOf(manifest) };
    const server = await startTestServer(({ method }) =>
      method === 'PUT' ? { status: 201 } : { headers, body: manifest },
    );
    const tagged = await clientFor([server]).tag(repositoryOf(server), 'v1', 'prod', signal);
    expect(tagged.digest).toBe(digestOf(manifest));
    expect(steps(server)).toEqual([
      'HEAD /v2/a/b/manifests/v1',
      `GET /v2/a/b/manifests/${digestOf(manifest)}`,
      'PUT /v2/a/b/manifests/prod',
    ]);
    expect(server.seen.at(-1)?.body).toEqual(manifest);
    await expect(clientFor([server]).tag(repositoryOf(server), 'v1', '-x', signal)).rejects.toMatchObject({
      reason: 'InvalidReference',
    });
  });
});
