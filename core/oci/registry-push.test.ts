import { describe, expect, it, onTestFinished } from 'vitest';
import { contentOf } from './content.ts';
import { digestOf } from './digest.ts';
import { OCI_MANIFEST } from './media-types.ts';
import { createRegistryClient } from './registry-client.ts';
import { startTestServer, type Reply, type Seen, type TestServer } from './test-server.ts';

const signal = AbortSignal.timeout(20_000);
const bytes = Buffer.from('a layer');
const layer = contentOf(bytes, 'x/y');
const { digest } = layer.descriptor;

function clientFor(servers: TestServer[]) {
  const plainHttpHosts = servers.map(({ host }) => host);
  const retry = { attempts: 3, baseMs: 1, maxMs: 5 };
  const client = createRegistryClient({ plainHttpHosts, retry, credentials: () => ({ username: 'u', password: 'p' }) });
  onTestFinished(() => client.close());
  return client;
}

const repositoryOf = (server: TestServer) => ({ host: server.host, name: 'a/b' });
const steps = (server: TestServer) => server.seen.map(({ method, url }) => `${method} ${url}`);

/** A registry that takes uploads; `put` answers the PUT of a blob. */
function startUploads(put: (seen: Seen) => Reply, location = '/v2/a/b/blobs/uploads/1?_state=x%2By') {
  return startTestServer((seen) => {
    if (seen.method === 'HEAD') return { status: 404 };
    if (seen.method === 'POST') return { status: 202, headers: { location } };
    return put(seen);
  });
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
