import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { contentOf, readBlob } from './content.ts';
import { digestOf } from './digest.ts';
import { createLayout } from './layout.ts';
import { OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import type { Descriptor } from './port.ts';
import { makeFolder } from './test-tar.ts';

const signal = AbortSignal.timeout(30_000);
const repository = { host: 'oci-layout', name: 'any' };
const REF_NAME = 'org.opencontainers.image.ref.name';

interface Index {
  manifests: { digest: string; mediaType: string; size: number; annotations?: Record<string, string> }[];
  [name: string]: unknown;
}

async function start() {
  const dir = join(await makeFolder(), 'layout');
  const layout = createLayout(dir);
  const readIndex = async () => {
    const index: Index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8'));
    return index;
  };
  const pushManifest = (tag?: string, more: object = {}) => {
    const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: {}, layers: [], ...more };
    const bytes = Buffer.from(JSON.stringify(manifest));
    return layout.pushManifest(repository, tag ?? digestOf(bytes), { bytes, mediaType: OCI_MANIFEST }, signal);
  };
  const pathOf = ({ digest }: Pick<Descriptor, 'digest'>) => join(dir, 'blobs', digest.replace(':', '/'));
  const read = (descriptor: Descriptor) => readBlob(layout, repository, descriptor, 1024 ** 2, signal);
  return { dir, layout, readIndex, pushManifest, pathOf, read };
}

/** A layout written by hand, as another tool might. */
async function writeLayout(index: object | string, version: unknown = { imageLayoutVersion: '1.0.0' }) {
  const dir = await makeFolder();
  await writeFile(join(dir, 'oci-layout'), JSON.stringify(version));
  await writeFile(join(dir, 'index.json'), typeof index === 'string' ? index : JSON.stringify(index));
  return { dir, layout: createLayout(dir) };
}

describe('an OCI image layout', () => {
  it('is made with the first push, as the specification says', async () => {
    const { dir, layout, readIndex, pushManifest } = await start();
    await layout.pushBlob(repository, contentOf(Buffer.from('x'), 'x/y'), signal);
    expect(JSON.parse(await readFile(join(dir, 'oci-layout'), 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' });
    const { mediaType, digest, size } = await pushManifest('1.0');
    expect(await readIndex()).toEqual({
      schemaVersion: 2,
      mediaType: OCI_INDEX,
      manifests: [{ mediaType, digest, size, annotations: { [REF_NAME]: '1.0' } }],
    });
    expect((await readdir(dir)).toSorted()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it('lists each manifest once, and under every tag it has', async () => {
    const { readIndex, pushManifest } = await start();
    const [first, second] = [await pushManifest(), await pushManifest(undefined, { artifactType: 'x/2' })];
    await pushManifest();
    await pushManifest('a');
    await pushManifest('b');
    await pushManifest('a', { artifactType: 'x/2' });
    const entries = (await readIndex()).manifests.map(({ digest, annotations }) => [digest, annotations?.[REF_NAME]]);
    expect(entries).toEqual([
      [first.digest, 'b'],
      [second.digest, 'a'],
    ]);
  });

  it('loses nothing when many write at once', async () => {
    const { dir, readIndex, pushManifest } = await start();
    const other = createLayout(dir);
    await Promise.all(
      Array.from({ length: 12 }, async (_, at) => {
        await pushManifest(`one-${at}`, { annotations: { at: `one-${at}` } });
        const bytes = Buffer.from(
          JSON.stringify({ schemaVersion: 2, config: {}, layers: [], annotations: { at: `${at}` } }),
        );
        await other.pushManifest(repository, `two-${at}`, { bytes, mediaType: OCI_MANIFEST }, signal);
      }),
    );
    expect((await readIndex()).manifests).toHaveLength(24);
    expect(await other.tags(repository, signal)).toHaveLength(24);
    expect((await readdir(dir)).toSorted()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it('keeps what other tools wrote into its index', async () => {
    const entry = {
      mediaType: 'x/y',
      digest: digestOf(Buffer.from('z')),
      size: 1,
      platform: { os: 'plan9' },
      urls: ['a'],
    };
    const { dir, layout } = await writeLayout({ schemaVersion: 2, manifests: [entry], annotations: { by: 'another' } });
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config: {}, layers: [] }));
    await layout.pushManifest(repository, 'new', { bytes, mediaType: OCI_MANIFEST }, signal);
    const index: Index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8'));
    expect(index).toMatchObject({ annotations: { by: 'another' }, manifests: [entry, {}] });
  });

  it('goes on after a process died while it wrote', async () => {
    const { dir, pushManifest, layout } = await start();
    await pushManifest('1.0');
    const lock = join(dir, '.index.lock');
    await writeFile(lock, '');
    await utimes(lock, new Date(Date.now() - 60_000), new Date(Date.now() - 60_000));
    await pushManifest('2.0');
    expect(await layout.tags(repository, signal)).toEqual(['1.0', '2.0']);
  });

  it('removes what a process that died had begun, and nothing a living one writes', async () => {
    const { dir, pushManifest } = await start();
    await pushManifest('1.0');
    const blobs = join(dir, 'blobs', 'sha256');
    for (const name of ['.tmp-dead', '.tmp-living']) await writeFile(join(blobs, name), 'half');
    await utimes(join(blobs, '.tmp-dead'), new Date(Date.now() - 3_600_000), new Date(Date.now() - 3_600_000));
    await pushManifest('2.0');
    expect((await readdir(blobs)).filter((name) => name.startsWith('.tmp-'))).toEqual(['.tmp-living']);
  });

  it('waits for a lock no longer than its caller does', async () => {
    const { dir, pushManifest, layout } = await start();
    await pushManifest('1.0');
    await writeFile(join(dir, '.index.lock'), '');
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config: {}, layers: [] }));
    const push = { bytes, mediaType: OCI_MANIFEST };
    await expect(layout.pushManifest(repository, '2.0', push, AbortSignal.timeout(100))).rejects.toThrow('timeout');
  });

  it('keeps nothing of content that breaks off', async () => {
    const { dir, layout } = await start();
    const { descriptor } = contentOf(randomBytes(100), 'x/y');
    const open = async function* () {
      yield Buffer.from('half');
      throw new Error('the cable was pulled');
    };
    await expect(layout.pushBlob(repository, { descriptor, open }, signal)).rejects.toThrow('the cable was pulled');
    expect(await readdir(join(dir, 'blobs', 'sha256'))).toEqual([]);
  });
});

describe('a folder that is no layout', () => {
  it.each<[string, () => Promise<{ layout: ReturnType<typeof createLayout> }>, string, string]>([
    [
      'is not there',
      async () => ({ layout: createLayout('/nowhere/at/all') }),
      'SourceNotFound',
      'no OCI image layout',
    ],
    ['is empty', async () => ({ layout: createLayout(await makeFolder()) }), 'SourceNotFound', 'no OCI image layout'],
    [
      'has another version',
      () => writeLayout({ schemaVersion: 2, manifests: [] }, { imageLayoutVersion: '2.0.0' }),
      'ArtifactInvalid',
      'version 1.0.0',
    ],
    ['has no index', () => writeLayout('nonsense'), 'ArtifactInvalid', 'is no index'],
    ['has an index without manifests', () => writeLayout({ schemaVersion: 2 }), 'ArtifactInvalid', 'is no index'],
    [
      'names a digest that is none',
      () =>
        writeLayout({ schemaVersion: 2, manifests: [{ mediaType: OCI_MANIFEST, digest: 'sha256:../..', size: 1 }] }),
      'ArtifactInvalid',
      'is no index',
    ],
    [
      'has an index that is too large',
      () => writeLayout(' '.repeat(33 * 1024 * 1024)),
      'ArtifactTooLarge',
      'larger than 33554432 bytes',
    ],
  ])('is refused where it %s', async (_, make, reason, message) => {
    const { layout } = await make();
    const refused = { reason, message: expect.stringContaining(message) };
    await expect(layout.resolve(repository, 'v1', signal)).rejects.toMatchObject(refused);
    await expect(layout.tags(repository, signal)).rejects.toMatchObject(refused);
  });

  it('is never written into', async () => {
    const dir = await makeFolder();
    await writeFile(join(dir, 'thesis.txt'), 'important');
    const pushed = createLayout(dir).pushBlob(repository, contentOf(Buffer.from('x'), 'x/y'), signal);
    await expect(pushed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
    expect(await readdir(dir)).toEqual(['thesis.txt']);
  });
});

describe('content of a layout', () => {
  it.each<[string, (path: string) => Promise<unknown>]>([
    ['a link', (path) => symlink('/etc/passwd', path)],
    ['a pipe nobody writes to', (path) => promisify(execFile)('mkfifo', [path])],
    ['a folder', (path) => mkdir(path)],
  ])('is never read from %s', async (_, make) => {
    const { layout, pathOf, read } = await start();
    const content = contentOf(Buffer.from('content'), 'x/y');
    await layout.pushBlob(repository, content, signal);
    await rm(pathOf(content.descriptor));
    await make(pathOf(content.descriptor));
    await expect(read(content.descriptor)).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
  });

  it('says which of several manifests of one name is meant', async () => {
    const entryOf = (text: string) => ({
      mediaType: OCI_MANIFEST,
      digest: digestOf(Buffer.from(text)),
      size: 1,
      annotations: { [REF_NAME]: 'v1' },
    });
    const { layout } = await writeLayout({ schemaVersion: 2, manifests: [entryOf('a'), entryOf('b')] });
    await expect(layout.resolve(repository, 'v1', signal)).rejects.toThrow('names several manifests');
  });

  it('may be named and not there', async () => {
    const { layout, pushManifest, pathOf } = await start();
    const [gone, subject] = [await pushManifest('gone'), await pushManifest('subject', { artifactType: 'x/y' })];
    const signature = await pushManifest(undefined, { subject });
    await rm(pathOf(gone));
    await expect(layout.resolve(repository, 'gone', signal)).rejects.toMatchObject({ reason: 'SourceNotFound' });
    const referrers = await layout.referrers(repository, subject.digest, {}, signal);
    expect(referrers.map(({ digest }) => digest)).toEqual([signature.digest]);
  });

  it('is listed as attached also where only the referrers tag says so', async () => {
    const { layout, pushManifest } = await start();
    const [subject, signature] = [
      await pushManifest('subject'),
      await pushManifest(undefined, { artifactType: 'x/sig' }),
    ];
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [signature] }));
    const tag = `sha256-${subject.digest.slice(7)}`;
    await layout.pushManifest(repository, tag, { bytes, mediaType: OCI_INDEX }, signal);
    expect(await layout.referrers(repository, subject.digest, {}, signal)).toEqual([signature]);
  });

  it.each(['{"a":1}', 'no JSON', '[]', '{"mediaType":"x/y","layers":[]}'])(
    'is not taken for a manifest where it is none: %s',
    async (text) => {
      const { layout } = await start();
      const content = contentOf(Buffer.from(text), 'x/y');
      await layout.pushBlob(repository, content, signal);
      const resolved = layout.resolve(repository, content.descriptor.digest, signal);
      await expect(resolved).rejects.toMatchObject({ kind: 'transient', reason: 'SourceNotFound' });
    },
  );
});
