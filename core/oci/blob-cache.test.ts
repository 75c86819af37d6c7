import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { cachedFetcher, createBlobCache } from './blob-cache.ts';
import { readBlob } from './content.ts';
import { checked, digestOf } from './digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import type { Descriptor, Fetcher } from './port.ts';
import { makeFolder } from './test-tar.ts';

const signal = AbortSignal.timeout(20_000);
const repository = { host: 'r.io', name: 'infra/shop' };
const run = promisify(execFile);

/** A registry in memory that counts what it is asked. */
function createOrigin() {
  const blobs = new Map<string, Buffer>();
  const asked: string[] = [];
  const fetcher: Fetcher = {
    async fetch(_, { digest, size }) {
      asked.push(digest);
      const bytes = blobs.get(digest);
      if (bytes === undefined) throw transient('SourceNotFound', `no ${digest}`);
      return checked(
        (async function* () {
          yield bytes;
        })(),
        { digest, size, what: 'blob' },
      );
    },
  };
  function add(bytes: Buffer, mediaType = 'x/y'): Descriptor {
    blobs.set(digestOf(bytes), bytes);
    return { mediaType, digest: digestOf(bytes), size: bytes.byteLength };
  }
  return { blobs, asked, fetcher, add };
}

async function start(maxBytes?: number, dir?: string) {
  const origin = createOrigin();
  const folder = dir ?? (await makeFolder());
  const cache = createBlobCache({ dir: folder, ...(maxBytes === undefined ? {} : { maxBytes }) });
  const fetcherOf = (tenant: string) => cachedFetcher(origin.fetcher, { cache, tenant });
  const read = (descriptor: Descriptor, tenant = 'shop') =>
    readBlob(fetcherOf(tenant), repository, descriptor, 1024 ** 3, signal);
  const fileOf = ({ digest }: Descriptor, tenant = 'shop') => cache.pathOf(tenant, digest);
  return { ...origin, dir: folder, cache, fetcherOf, read, fileOf };
}

describe('cachedFetcher', () => {
  it('asks once and keeps the bytes', async () => {
    const { add, asked, read } = await start();
    const bytes = randomBytes(700_000);
    const descriptor = add(bytes);
    for (let times = 0; times < 3; times += 1) expect((await read(descriptor)).equals(bytes)).toBe(true);
    expect(asked).toHaveLength(1);
  });

  it('shows no tenant what another has fetched', async () => {
    const { add, blobs, read } = await start();
    const descriptor = add(randomBytes(10));
    await read(descriptor, 'shop');
    blobs.clear();
    await expect(read(descriptor, 'bank')).rejects.toMatchObject({ reason: 'SourceNotFound' });
  });

  it.each(['..', '../shop', 'a/b', '', 'Shop', '.tmp-x'])('takes %j for no tenant', async (tenant) => {
    const { add, read, asked } = await start();
    await expect(read(add(randomBytes(10)), tenant)).rejects.toMatchObject({ kind: 'stalled', reason: 'SpecInvalid' });
    expect(asked).toEqual([]);
  });

  it.each<[string, (path: string, bytes: Buffer) => Promise<unknown>]>([
    ['a flipped byte', (path, bytes) => writeFile(path, Buffer.from(bytes).fill(0, 50, 51))],
    ['missing bytes', (path, bytes) => writeFile(path, bytes.subarray(1))],
    ['trailing bytes', (path, bytes) => writeFile(path, Buffer.concat([bytes, bytes]))],
    ['nothing', (path) => writeFile(path, '')],
    ['a folder', (path) => rm(path).then(() => mkdir(path))],
    ['a link', (path) => rm(path).then(() => symlink('/etc/passwd', path))],
  ])('drops an entry that holds %s and fetches it again', async (_, spoil) => {
    const { add, asked, read, fileOf } = await start();
    const bytes = Buffer.alloc(1000, 'x');
    const descriptor = add(bytes);
    await read(descriptor);
    await spoil(fileOf(descriptor), bytes);
    expect(await read(descriptor)).toEqual(bytes);
    expect(asked).toHaveLength(2);
    expect(await readFile(fileOf(descriptor))).toEqual(bytes);
  });

  it('keeps nothing of what breaks off or is not what it should be', async () => {
    const { blobs, dir, read, add } = await start();
    const descriptor = add(randomBytes(1000));
    blobs.set(descriptor.digest, randomBytes(1000));
    await expect(read(descriptor)).rejects.toMatchObject({ reason: 'DigestMismatch' });
    expect(await readdir(join(dir, 'shop'))).toEqual([]);
  });

  it('does not let a blob pass for a manifest', async () => {
    const { add, read } = await start();
    const both = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [], layers: [], config: {} }));
    const blob = add(both);
    await read(blob);
    for (const mediaType of [OCI_MANIFEST, OCI_INDEX]) {
      await expect(read({ ...blob, mediaType })).rejects.toMatchObject({ reason: 'ArtifactInvalid' });
    }
  });

  it('lets many ask for the same at once, over several caches in one folder', async () => {
    const dir = await makeFolder();
    const [one, two] = [await start(undefined, dir), await start(undefined, dir)];
    const bytes = randomBytes(300_000);
    const descriptor = one.add(bytes);
    two.add(bytes);
    const all = await Promise.all(Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? one : two).read(descriptor)));
    for (const each of all) expect(each.equals(bytes)).toBe(true);
    expect(await readdir(join(dir, 'shop'))).toEqual([descriptor.digest.replace(':', '-')]);
  });

  it('passes on what is larger than the whole cache', async () => {
    const { add, asked, dir, read } = await start(1000);
    const descriptor = add(randomBytes(1001));
    await read(descriptor);
    await read(descriptor);
    expect(asked).toHaveLength(2);
    expect(await readdir(dir)).toEqual([]);
  });
});

describe('a cache that is full', () => {
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);

  it('lets go of what was used least recently, of any tenant', async () => {
    const { add, asked, read, fileOf } = await start(3000);
    const [a, b, c, d] = [
      add(randomBytes(1000)),
      add(randomBytes(1000)),
      add(randomBytes(1000)),
      add(randomBytes(1000)),
    ];
    for (const [each, tenant, hours] of [
      [a, 'shop', 3],
      [b, 'bank', 2],
      [c, 'shop', 1],
    ] as const) {
      await read(each, tenant);
      await utimes(fileOf(each, tenant), hoursAgo(hours), hoursAgo(hours));
    }
    await read(a, 'shop');
    await read(d, 'shop');
    const before = asked.length;
    for (const [each, tenant] of [
      [a, 'shop'],
      [c, 'shop'],
      [d, 'shop'],
    ] as const)
      await read(each, tenant);
    expect(asked.length).toBe(before);
    await read(b, 'bank');
    expect(asked.length).toBe(before + 1);
  });

  it('lets who reads an entry finish when it is let go meanwhile', async () => {
    const { add, fetcherOf, fileOf } = await start();
    const bytes = randomBytes(2_000_000);
    const descriptor = add(bytes);
    const hash = createHash('sha256');
    let chunks = 0;
    for await (const chunk of await fetcherOf('shop').fetch(repository, descriptor, signal)) {
      hash.update(chunk);
      if ((chunks += 1) === 1) await rm(fileOf(descriptor));
    }
    expect(`sha256:${hash.digest('hex')}`).toBe(descriptor.digest);
    expect(chunks).toBeGreaterThan(2);
  });

  it('fetches again what is let go before it is read', async () => {
    const { add, asked, fetcherOf, fileOf } = await start();
    const descriptor = add(randomBytes(1000));
    const stream = await fetcherOf('shop').fetch(repository, descriptor, signal);
    await rm(fileOf(descriptor));
    let size = 0;
    for await (const chunk of stream) size += chunk.byteLength;
    expect(size).toBe(1000);
    expect(asked).toHaveLength(2);
  });

  it('clears away what a dead process left half-way, and nothing of a living one', async () => {
    const { add, dir, read } = await start();
    await mkdir(join(dir, 'shop'));
    const [dead, living] = ['.tmp-dead', '.tmp-living'].map((name) => join(dir, 'shop', name));
    await writeFile(dead ?? '', 'x');
    await writeFile(living ?? '', 'x');
    await utimes(dead ?? '', hoursAgo(25), hoursAgo(25));
    await read(add(randomBytes(10)));
    expect((await readdir(join(dir, 'shop'))).filter((name) => name.startsWith('.tmp-'))).toEqual(['.tmp-living']);
  });
});

describe('a disk that is full', () => {
  it('is named, retried and left without a partial file', async (context) => {
    const dir = join(await makeFolder(), 'small');
    await mkdir(dir);
    const mounted = await run('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'plumbline-test', dir]).catch(
      () => undefined,
    );
    if (mounted === undefined) return context.skip('only root can make a small disk');
    onTestFinished(() => run('umount', [dir]).then(() => undefined));
    const { add, read, cache } = await start(undefined, dir);
    const descriptor = add(randomBytes(400_000));
    await expect(read(descriptor)).rejects.toMatchObject({
      kind: 'transient',
      reason: 'DiskFull',
      message: expect.stringContaining(dir),
    });
    expect(await readdir(dirname(cache.pathOf('shop', descriptor.digest)))).toEqual([]);
    const small = add(randomBytes(1000));
    expect(await read(small)).toHaveLength(1000);
  });
});
