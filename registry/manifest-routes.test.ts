import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  describeBytes,
  digestOf,
  imageManifest,
  MANIFEST_TYPE,
  pushBlob,
  pushImage,
  putManifest,
  sendRaw,
  type RawDescriptor,
} from '../test/harness/raw-registry.ts';
import { temporaryRegistry } from '../test/harness/temporary-registry.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
let registry: Awaited<ReturnType<typeof temporaryRegistry>>;
let base: string;
let config: RawDescriptor;
beforeAll(async () => {
  registry = await temporaryRegistry();
  base = `${registry.url}/v2/infra/shop`;
  config = await pushBlob(base, '{}', 'application/vnd.oci.empty.v1+json');
});
afterAll(() => registry.close());

async function codeOf(answer: Response): Promise<unknown> {
  return ((await answer.json()) as { errors: { code: string }[] }).errors[0]?.code;
}

async function get(reference: string): Promise<[number, string | null]> {
  const answer = await fetch(`${base}/manifests/${reference}`);
  await answer.body?.cancel();
  return [answer.status, answer.headers.get('docker-content-digest')];
}

describe('a manifest', () => {
  it('comes back byte by byte with its type, by tag and by digest', async () => {
    const bytes = `  ${imageManifest({ config, layers: [], unknown: 'field' })}\n\n`;
    const pushed = await putManifest(base, 'spaced', bytes);
    expect([pushed.status, pushed.headers.get('location')]).toEqual([
      201,
      `/v2/infra/shop/manifests/${digestOf(bytes)}`,
    ]);
    for (const reference of ['spaced', digestOf(bytes)]) {
      const answer = await fetch(`${base}/manifests/${reference}`);
      expect(answer.headers.get('content-type')).toBe(MANIFEST_TYPE);
      expect(answer.headers.get('docker-content-digest')).toBe(digestOf(bytes));
      expect(await answer.text()).toBe(bytes);
    }
  });

  it('under another digest than its own is refused and not stored', async () => {
    const bytes = imageManifest({ config, layers: [], a: 1 });
    const answer = await putManifest(base, digestOf('another'), bytes);
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'DIGEST_INVALID']);
    expect((await get(digestOf(bytes)))[0]).toBe(404);
  });

  it('whose blob is missing is refused, and taken once the blob is there', async () => {
    const bytes = imageManifest({ config, layers: [describeBytes('comes late', 'application/octet-stream')] });
    const refused = await putManifest(base, 'late', bytes);
    expect([refused.status, await codeOf(refused)]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
    await pushBlob(base, 'comes late');
    expect((await putManifest(base, 'late', bytes)).status).toBe(201);
  });

  it('whose blob has another size is refused', async () => {
    const answer = await putManifest(base, 'size', imageManifest({ config: { ...config, size: 3 }, layers: [] }));
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'SIZE_INVALID']);
  });

  it('may name a layer that must not be distributed and is not there', async () => {
    const foreign = describeBytes('elsewhere', 'application/vnd.oci.image.layer.nondistributable.v1.tar');
    expect((await putManifest(base, 'foreign', imageManifest({ config, layers: [foreign] }))).status).toBe(201);
  });

  it('may be an index of manifests that are there, not of others', async () => {
    const image = imageManifest({ config, layers: [], b: 1 });
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [describeBytes(image, MANIFEST_TYPE)],
    });
    const refused = await putManifest(base, 'index', index, INDEX);
    expect([refused.status, await codeOf(refused)]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN']);
    await putManifest(base, digestOf(image), image);
    expect((await putManifest(base, 'index', index, INDEX)).status).toBe(201);
  });

  it('may have four mebibytes and no more', async () => {
    const frame = imageManifest({ config, layers: [], annotations: { a: '' } }).length;
    const sized = (bytes: number) =>
      imageManifest({ config, layers: [], annotations: { a: 'x'.repeat(bytes - frame) } });
    const limit = 4 * 1024 * 1024;
    expect((await putManifest(base, 'large', sized(limit))).status).toBe(201);
    const answer = await putManifest(base, 'huge', sized(limit + 1));
    expect([answer.status, await codeOf(answer)]).toEqual([413, 'SIZE_INVALID']);
    expect((await get('huge'))[0]).toBe(404);
  });

  it('that does not say how large it is gets no further than the limit either', async () => {
    async function* endless() {
      for (let count = 0; count < 64; count++) yield Buffer.alloc(128 * 1024, 'x');
    }
    const headers = { 'Content-Type': MANIFEST_TYPE };
    const answer = await fetch(`${base}/manifests/endless`, {
      method: 'PUT',
      body: endless(),
      duplex: 'half',
      headers,
    });
    expect(answer.status).toBe(413);
  });

  it.each(['../../../../tmp/x', '..', 'a%2f..%2fb', 'x'.repeat(129)])('cannot be tagged %s', async (tag) => {
    const bytes = imageManifest({ config, layers: [] });
    const head = `PUT /v2/infra/shop/manifests/${tag} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: ${MANIFEST_TYPE}\r\n`;
    const answer = await sendRaw(registry.port, `${head}Content-Length: ${bytes.length}\r\n\r\n${bytes}`);
    expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
  });
});

describe('a tag', () => {
  it('moves to what is pushed to it, and the earlier manifest stays', async () => {
    const first = await pushImage(base, 'prod', 'one');
    const second = await pushImage(base, 'prod', 'two');
    expect(await get('prod')).toEqual([200, second]);
    expect(await get(first)).toEqual([200, first]);
    expect(await pushImage(base, 'prod', 'one')).toBe(first);
    expect(await get('prod')).toEqual([200, first]);
  });

  it('is a small file with a digest in it', async () => {
    const digest = await pushImage(base, 'file', 'three');
    expect(await readFile(join(registry.dir, 'repositories/infra/shop/_tags/file'), 'utf8')).toBe(digest);
  });

  it('that is deleted leaves its manifest', async () => {
    const digest = await pushImage(base, 'short-lived', 'four');
    expect((await fetch(`${base}/manifests/short-lived`, { method: 'DELETE' })).status).toBe(202);
    expect((await get('short-lived'))[0]).toBe(404);
    expect((await get(digest))[0]).toBe(200);
    expect((await fetch(`${base}/manifests/short-lived`, { method: 'DELETE' })).status).toBe(404);
  });

  it('goes with its manifest', async () => {
    const digest = await pushImage(base, 'one-name', 'five');
    await pushImage(base, 'other-name', 'five');
    const kept = await pushImage(base, 'kept', 'six');
    expect((await fetch(`${base}/manifests/${digest}`, { method: 'DELETE' })).status).toBe(202);
    expect((await get('one-name'))[0]).toBe(404);
    expect((await get('other-name'))[0]).toBe(404);
    expect(await get('kept')).toEqual([200, kept]);
  });

  it('points at one of the manifests that were pushed to it at the same time', async () => {
    const digests = await Promise.all(Array.from({ length: 20 }, (_, n) => pushImage(base, 'busy', `layer ${n}`)));
    const [status, digest] = await get('busy');
    expect(status).toBe(200);
    expect(digests).toContain(digest);
    for (const each of digests) expect((await get(each))[0]).toBe(200);
  });
});

it('an unknown repository is told from an unknown manifest', async () => {
  const unknown = await fetch(`${registry.url}/v2/nobody/manifests/latest`);
  expect([unknown.status, await codeOf(unknown)]).toEqual([404, 'NAME_UNKNOWN']);
  const missing = await fetch(`${base}/manifests/missing`);
  expect([missing.status, await codeOf(missing)]).toEqual([404, 'MANIFEST_UNKNOWN']);
});
