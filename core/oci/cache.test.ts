import { mkdir, readdir, readFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { stalled } from '#core/domain/errors.ts';
import { createArtifactStore, type StoreOptions } from './cache.ts';
import { digestOf } from './digest.ts';
import { EMPTY_CONFIG, OCI_INDEX, OCI_MANIFEST, OCI_TAR, OCI_TAR_GZIP } from './media-types.ts';
import { addManifest, addProgram, fetcherOf, type MemoryContent } from './memory-source.fixture.ts';
import type { Fetcher, Resolver } from './port.ts';
import { makeFolder, makeTar, type TarItem } from './test-tar.ts';

const signal = AbortSignal.timeout(20_000);
const repository = { host: 'r.io', name: 'infra/shop' };

async function start(options: Partial<StoreOptions> = {}) {
  const content: MemoryContent = { manifests: new Map(), blobs: new Map(), asked: [] };
  const dir = await makeFolder();
  const store = createArtifactStore({ dir, ...options });
  const fetch = (digest: string, tenant = 'shop') =>
    store.fetchArtifact({ tenant, client: fetcherOf(content), repository, digest, signal });
  return { content, dir, fetch };
}

const program: TarItem[] = [{ name: 'Pulumi.yaml', content: 'name: shop\nruntime: yaml\n' }];

describe('fetchArtifact', () => {
  it('unpacks once and serves the cache from then on', async () => {
    const { content, dir, fetch } = await start();
    const digest = await addProgram(content, program, { 'org.opencontainers.image.revision': 'main@sha1:abc' });
    const first = await fetch(digest);
    expect(first).toEqual({
      dir: join(dir, 'shop', digest.replace(':', '-'), 'tree'),
      annotations: { 'org.opencontainers.image.revision': 'main@sha1:abc' },
      parts: {},
      cached: false,
    });
    expect(await readFile(join(first.dir, 'Pulumi.yaml'), 'utf8')).toContain('name: shop');
    expect((await stat(first.dir)).mode & 0o777).toBe(0o700);
    expect(await fetch(digest)).toEqual({ ...first, cached: true });
    expect(content.asked).toEqual(['manifest', 'blob']);
  });

  it('keeps tenants apart', async () => {
    const { content, fetch } = await start();
    const digest = await addProgram(content, program);
    const [one, two] = [await fetch(digest, 'shop'), await fetch(digest, 'bank')];
    expect(two.cached).toBe(false);
    expect(one.dir).not.toBe(two.dir);
    await expect(fetch(digest, '../bank')).rejects.toMatchObject({ kind: 'stalled' });
  });

  it('lets many ask for the same at once', async () => {
    const { content, dir, fetch } = await start();
    const digest = await addProgram(content, program);
    const fetched = await Promise.all(Array.from({ length: 10 }, () => fetch(digest)));
    for (const { dir: tree } of fetched) expect(await readdir(tree)).toEqual(['Pulumi.yaml']);
    expect(await readdir(join(dir, 'shop'))).toEqual([digest.replace(':', '-')]);
  });

  it('goes through an index to its one program', async () => {
    const { content, fetch } = await start();
    const inner = await addProgram(content, program, { b: 'inner' });
    const sizeOf = (digest: string) => content.manifests.get(digest)?.bytes.byteLength ?? 0;
    const entry = { mediaType: OCI_MANIFEST, digest: inner, size: sizeOf(inner) };
    const outer = addManifest(content, { manifests: [entry], annotations: { a: 'outer', b: 'outer' } }, OCI_INDEX);
    expect((await fetch(outer)).annotations).toEqual({ a: 'outer', b: 'inner' });
    const index = { mediaType: OCI_INDEX, digest: outer, size: sizeOf(outer) };
    const nested = addManifest(content, { manifests: [index] }, OCI_INDEX);
    await expect(fetch(nested)).rejects.toThrow('index of an index');
  });

  it('puts several layers and plain files together', async () => {
    const { content, fetch } = await start();
    const archive = gzipSync(await makeTar([{ name: 'lib/a.ts', content: 'a' }]));
    const file = Buffer.from('name: shop');
    for (const blob of [archive, file]) content.blobs.set(digestOf(blob), blob);
    const layers = [
      { mediaType: OCI_TAR_GZIP, digest: digestOf(archive), size: archive.byteLength },
      {
        mediaType: OCI_TAR,
        digest: digestOf(file),
        size: file.byteLength,
        annotations: { 'org.opencontainers.image.title': 'Pulumi.yaml' },
      },
    ];
    const config = { mediaType: EMPTY_CONFIG, digest: digestOf(Buffer.from('{}')), size: 2 };
    const { dir } = await fetch(addManifest(content, { config, layers }));
    expect(await readFile(join(dir, 'Pulumi.yaml'), 'utf8')).toBe('name: shop');
    expect(await readFile(join(dir, 'lib/a.ts'), 'utf8')).toBe('a');
  });

  it.each<[string, (content: MemoryContent) => void, Partial<StoreOptions>, string]>([
    ['a spoilt layer', ({ blobs }) => blobs.forEach((bytes) => bytes.fill(0, 20, 21)), {}, 'DigestMismatch'],
    [
      'a layer cut short',
      ({ blobs }) => blobs.forEach((bytes, key) => blobs.set(key, bytes.subarray(5))),
      {},
      'DigestMismatch',
    ],
    ['layers over the limit', () => undefined, { limits: { maxCompressedBytes: 10 } }, 'ArtifactTooLarge'],
    ['a tree over the limit', () => undefined, { limits: { maxUnpackedBytes: 100 } }, 'ArtifactTooLarge'],
  ])('leaves nothing behind after %s', async (_, spoil, options, reason) => {
    const { content, dir, fetch } = await start(options);
    const digest = await addProgram(content, program);
    spoil(content);
    await expect(fetch(digest)).rejects.toMatchObject({ kind: 'stalled', reason });
    expect(await readdir(join(dir, 'shop'))).toEqual([]);
  });

  it('recovers when the registry has the content again', async () => {
    const { content, fetch } = await start();
    const digest = await addProgram(content, program);
    const saved = content.manifests.get(digest);
    content.manifests.clear();
    await expect(fetch(digest)).rejects.toMatchObject({ reason: 'SourceNotFound' });
    if (saved !== undefined) content.manifests.set(digest, saved);
    expect((await fetch(digest)).cached).toBe(false);
  });

  it('passes on what the registry says', async () => {
    const { fetch } = await start();
    await expect(fetch('latest')).rejects.toMatchObject({ reason: 'InvalidReference' });
    const dir = await makeFolder();
    const refusal = stalled('SourceUnauthorized', 'no');
    const client: Resolver & Fetcher = { resolve: () => Promise.reject(refusal), fetch: () => Promise.reject(refusal) };
    const digest = digestOf(Buffer.from('x'));
    const failed = createArtifactStore({ dir }).fetchArtifact({ tenant: 'shop', client, repository, digest, signal });
    await expect(failed).rejects.toBe(refusal);
  });
});

describe('eviction', () => {
  const big = (name: string): TarItem[] => [{ name, content: name.repeat(50_000) }];
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);

  it('removes what was used least recently, of any tenant', async () => {
    const { content, dir, fetch } = await start({ maxBytes: 170_000 });
    const digests = [];
    for (const name of ['a', 'b', 'c', 'd']) digests.push(await addProgram(content, big(name)));
    const [a = '', b = '', c = '', d = ''] = digests;
    const entryOf = (tenant: string, digest: string) => join(dir, tenant, digest.replace(':', '-'));
    await fetch(a, 'shop');
    await fetch(b, 'bank');
    await fetch(c, 'shop');
    await utimes(entryOf('shop', a), hoursAgo(5), hoursAgo(5));
    await utimes(entryOf('bank', b), hoursAgo(9), hoursAgo(9));
    await fetch(d, 'shop');
    expect(await readdir(join(dir, 'bank'))).toHaveLength(0);
    expect((await fetch(a, 'shop')).cached).toBe(true);
    expect((await fetch(b, 'bank')).cached).toBe(false);
  });

  it('never removes what was asked for a moment ago, however full the cache is', async () => {
    const { content, fetch } = await start({ maxBytes: 1 });
    const digests = [];
    for (const name of ['a', 'b', 'c']) digests.push(await addProgram(content, big(name)));
    for (const digest of digests) await fetch(digest);
    for (const digest of digests) expect((await fetch(digest)).cached).toBe(true);
  });

  it('clears away what a dead worker left half-way', async () => {
    const { content, dir, fetch } = await start();
    const scratch = join(dir, 'shop', '.tmp-dead');
    await mkdir(scratch, { recursive: true });
    await utimes(scratch, hoursAgo(30), hoursAgo(30));
    await fetch(await addProgram(content, big('b')));
    expect(await readdir(join(dir, 'shop'))).not.toContain('.tmp-dead');
  });
});
