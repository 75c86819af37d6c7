import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { stalled } from '#core/domain/errors.ts';
import { createArtifactStore, type FetchRequest, type StoreOptions } from './cache.ts';
import { digestOf } from './digest.ts';
import {
  DEPENDENCIES_LAYER,
  EMPTY_CONFIG,
  OCI_IMAGE_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  OCI_TAR_GZIP,
  PLATFORM,
  PLUGINS_LAYER,
} from './media-types.ts';
import { addLayer, addManifest, addProgram, fetcherOf, type MemoryContent } from './memory-source.fixture.ts';
import { makeFolder, type TarItem } from './test-tar.ts';

const run = promisify(execFile);
const signal = AbortSignal.timeout(60_000);
const repository = { host: 'r.io', name: 'infra/shop' };
const config = { mediaType: EMPTY_CONFIG, digest: digestOf(Buffer.from('{}')), size: 2 };
const program: TarItem[] = [
  { name: 'Pulumi.yaml', content: 'name: shop\nruntime: yaml\n' },
  { name: 'docs/a.md', content: 'a' },
  { name: 'docs/keep.md', content: 'b' },
  { name: 'lib/a.ts', content: 'c' },
];

async function start(options: Partial<StoreOptions> = {}) {
  const content: MemoryContent = { manifests: new Map(), blobs: new Map(), asked: [] };
  const dir = options.dir ?? (await makeFolder());
  const store = createArtifactStore({ platform: 'linux/amd64', ...options, dir });
  const fetch = (digest: string, more: Partial<FetchRequest> = {}) =>
    store.fetchArtifact({ tenant: 'shop', client: fetcherOf(content), repository, digest, signal, ...more });
  return { content, dir, store, fetch };
}

const names = async (dir: string) => (await readdir(dir, { recursive: true })).toSorted();

describe('what of an artifact is used', () => {
  it('makes a tree of its own in the cache', async () => {
    const { content, fetch } = await start();
    const digest = await addProgram(content, program);
    const whole = await fetch(digest);
    const ignore = 'docs/*\n!docs/keep.md\n';
    const part = await fetch(digest, { selection: { ignore } });
    expect(await names(part.dir)).toEqual(['Pulumi.yaml', 'docs', 'docs/keep.md', 'lib', 'lib/a.ts']);
    expect(await names(whole.dir)).toContain('docs/a.md');
    expect((await fetch(digest, { selection: { ignore } })).cached).toBe(true);
    expect((await fetch(digest, { selection: { ignore: 'lib' } })).cached).toBe(false);
  });

  it('leaves out what its own .sourceignore names, unless the stack says otherwise', async () => {
    const { content, fetch } = await start();
    const digest = await addProgram(content, [...program, { name: '.sourceignore', content: 'docs\nlib\n' }]);
    expect(await names((await fetch(digest)).dir)).toEqual(['.sourceignore', 'Pulumi.yaml']);
    const { dir } = await fetch(digest, { selection: { ignore: '!lib' } });
    expect(await names(dir)).toEqual(['.sourceignore', 'Pulumi.yaml', 'lib', 'lib/a.ts']);
  });

  it('never follows a link while it leaves things out', async () => {
    const { content, fetch } = await start();
    const links: TarItem[] = [
      { name: 'link', type: 'symlink', linkname: 'docs' },
      { name: '.sourceignore', type: 'symlink', linkname: 'docs/a.md' },
    ];
    const digest = await addProgram(content, [...program, ...links]);
    await expect(fetch(digest)).rejects.toMatchObject({ reason: 'ProgramInvalid' });
    const other = await addProgram(content, [...program, ...links.slice(0, 1)]);
    const { dir } = await fetch(other, { selection: { ignore: 'link/\na.ts' } });
    expect(await names(dir)).toContain('docs/a.md');
  });

  it('is a folder of an image', async () => {
    const { content, fetch } = await start();
    const layers = [
      await addLayer(content, OCI_TAR_GZIP, [{ name: 'program/Pulumi.yaml', content: 'a' }, { name: 'program/b' }]),
      await addLayer(content, OCI_TAR_GZIP, [{ name: 'program/.wh.b' }, { name: 'bin/sh' }]),
    ];
    const digest = addManifest(content, { config: { ...config, mediaType: OCI_IMAGE_CONFIG }, layers });
    await expect(fetch(digest)).rejects.toThrow('spec.source.imagePath');
    const { dir } = await fetch(digest, { selection: { imagePath: '/program' } });
    expect(await names(dir)).toEqual(['Pulumi.yaml']);
    await expect(fetch(digest, { selection: { imagePath: '/app' } })).rejects.toMatchObject({
      reason: 'ArtifactInvalid',
      message: expect.stringContaining('nothing in the folder /app'),
    });
  });

  it('is one layer, chosen by its type', async () => {
    const { content, fetch } = await start();
    const mediaType = 'application/vnd.acme.program.tar+gzip';
    const layers = [
      await addLayer(content, OCI_TAR_GZIP, [{ name: 'README.md' }]),
      await addLayer(content, mediaType, program),
    ];
    const digest = addManifest(content, { config, artifactType: 'a/b', layers });
    const { dir } = await fetch(digest, { selection: { layerSelector: { mediaType } } });
    expect(await names(dir)).not.toContain('README.md');
  });
});

describe('an artifact with dependencies and plugins', () => {
  const parts = async (content: MemoryContent, platform: string) => [
    await addLayer(content, DEPENDENCIES_LAYER, [{ name: 'pg/index.js', content: 'x' }]),
    {
      ...(await addLayer(content, PLUGINS_LAYER, [{ name: 'resource-x-v1.0.0/pulumi-resource-x', mode: 0o755 }])),
      annotations: { [PLATFORM]: platform },
    },
  ];

  it('has them in folders of their own, named by the digests of their layers', async () => {
    const { content, fetch } = await start();
    const layers = await parts(content, 'linux/amd64');
    const digest = await addProgram(content, program, {}, layers);
    const first = await fetch(digest);
    const entry = join(first.dir, '..');
    expect(first.parts).toEqual({
      dependencies: { dir: join(entry, 'node_modules'), digest: layers[0]?.digest },
      plugins: { dir: join(entry, 'plugins'), digest: layers[1]?.digest },
    });
    expect(await readFile(join(entry, 'node_modules/pg/index.js'), 'utf8')).toBe('x');
    expect((await stat(join(entry, 'plugins/resource-x-v1.0.0/pulumi-resource-x'))).mode & 0o777).toBe(0o755);
    expect(await names(first.dir)).not.toContain('node_modules');
    expect(await fetch(digest)).toEqual({ ...first, cached: true });
  });

  it('stalls on another platform before anything is downloaded', async () => {
    const { content, fetch } = await start();
    const digest = await addProgram(content, program, {}, await parts(content, 'darwin/arm64'));
    await expect(fetch(digest)).rejects.toMatchObject({ kind: 'stalled', reason: 'PluginUnavailable' });
    expect(content.asked).toEqual(['manifest']);
  });

  it('counts all of them against the limits', async () => {
    const { content, fetch } = await start();
    const digest = await addProgram(content, program, {}, await parts(content, 'linux/amd64'));
    await expect(fetch(digest, { limits: { maxEntries: 8 } })).rejects.toMatchObject({ reason: 'ArtifactTooLarge' });
    await fetch(digest);
    // What is in the cache already is held to them as well.
    await expect(fetch(digest, { limits: { maxEntries: 8 } })).rejects.toMatchObject({ reason: 'ArtifactTooLarge' });
    await expect(fetch(digest, { limits: { maxEntries: 1_000_000 } })).resolves.toMatchObject({ cached: true });
  });
});

describe('admission', () => {
  it('comes before any layer is fetched, on every call, with the exact manifests', async () => {
    const { content, fetch } = await start();
    const inner = await addProgram(content, program);
    const size = content.manifests.get(inner)?.bytes.byteLength ?? 0;
    const entry = { mediaType: OCI_MANIFEST, digest: inner, size };
    const outer = addManifest(content, { manifests: [entry] }, OCI_INDEX);
    const seen: unknown[] = [];
    const admit: FetchRequest['admit'] = async (manifest, chosen) => {
      seen.push([manifest.digest, digestOf(manifest.bytes), chosen?.digest, content.asked.includes('blob')]);
    };
    await fetch(outer, { admit });
    await fetch(outer, { admit });
    expect(seen).toEqual([
      [outer, outer, inner, false],
      [outer, outer, inner, true],
    ]);
  });

  it('that is refused leaves nothing and gives nothing, cached or not', async () => {
    const { content, dir, fetch } = await start();
    const digest = await addProgram(content, program);
    const refusal = stalled('SignatureMissing', 'nobody signed it');
    const admit = () => Promise.reject(refusal);
    await expect(fetch(digest, { admit })).rejects.toBe(refusal);
    expect(content.asked).toEqual(['manifest']);
    expect(await readdir(join(dir, 'shop'))).toEqual([]);
    await fetch(digest);
    await expect(fetch(digest, { admit })).rejects.toBe(refusal);
  });
});

describe('a disk that is full', () => {
  const isRoot = process.getuid?.() === 0;

  it.skipIf(!isRoot)('is named, retried, and left without half of anything', async () => {
    const disk = await makeFolder();
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=0700', 'plumbline-test', disk]);
    onTestFinished(async () => void (await run('umount', [disk])));
    const { content, dir, fetch } = await start({ dir: disk, minIdleMs: 60_000 });
    const small = await addProgram(content, [{ name: 'a', content: 'x'.repeat(300_000) }]);
    const big = await addProgram(content, [{ name: 'b', content: Buffer.alloc(3_000_000, 'x') }]);
    await fetch(small);
    const failed = fetch(big);
    await expect(failed).rejects.toMatchObject({ kind: 'transient', reason: 'DiskFull' });
    await expect(failed).rejects.toThrow(dir);
    expect(await readdir(join(dir, 'shop'))).toEqual([small.replace(':', '-')]);
    // What nobody uses makes room.
    await utimes(join(dir, 'shop', small.replace(':', '-')), new Date(0), new Date(0));
    await expect(fetch(big)).rejects.toMatchObject({ reason: 'DiskFull' });
    expect(await readdir(join(dir, 'shop'))).toEqual([]);
  });
});

describe('an artifact in use', () => {
  it('is held however full the cache is, and let go of', async () => {
    const { content, store, fetch } = await start({ maxBytes: 1, minIdleMs: 200 });
    const used = await fetch(await addProgram(content, program));
    const release = store.hold(used);
    for (let round = 0; round < 5; round += 1) {
      await delay(100);
      await fetch(await addProgram(content, [{ name: `${round}` }]));
      await expect(stat(used.dir)).resolves.toBeTruthy();
    }
    release();
    await delay(500);
    await fetch(await addProgram(content, [{ name: 'last' }]));
    await expect(stat(used.dir)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('is found whole by everybody while others evict', { timeout: 30_000 }, async () => {
    const content: MemoryContent = { manifests: new Map(), blobs: new Map(), asked: [] };
    const dir = await makeFolder();
    const stores = [1, 2, 3].map(() => createArtifactStore({ dir, maxBytes: 1, minIdleMs: 5 }));
    const digests = await Promise.all(['a', 'b', 'c'].map((name) => addProgram(content, [{ name, content: name }])));
    const client = fetcherOf(content);
    const fetched = Array.from({ length: 120 }, async (_, index) => {
      const digest = digests[index % digests.length] ?? '';
      const store = stores[index % stores.length];
      return store?.fetchArtifact({ tenant: 'shop', client, repository, digest, signal });
    });
    for (const result of await Promise.all(fetched)) expect(result?.annotations).toEqual({});
    expect((await readdir(join(dir, 'shop'))).filter((name) => name.startsWith('.tmp-'))).toEqual([]);
  });

  it('of an earlier version of the cache is unpacked anew', async () => {
    const { content, dir, fetch } = await start();
    const digest = await addProgram(content, program);
    const entry = join(dir, 'shop', digest.replace(':', '-'));
    await mkdir(join(entry, 'tree'), { recursive: true });
    await writeFile(join(entry, 'artifact.json'), JSON.stringify({ digest, unpackedBytes: 3, annotations: {} }));
    expect((await fetch(digest)).cached).toBe(false);
    expect((await fetch(digest)).cached).toBe(true);
  });
});
