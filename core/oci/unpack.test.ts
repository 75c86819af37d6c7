import { lstat, mkdir, readdir, readFile, readlink, realpath, stat, writeFile } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReconcileError } from '#core/domain/errors.ts';
import type { Compression } from './artifact-layers.ts';
import { digestOf } from './digest.ts';
import { DEFAULT_LIMITS, type ArtifactLimits } from './limits.ts';
import { makeFolder, makeTar, type TarItem } from './test-tar.ts';
import { createUnpacker, type Unpacker } from './unpack.ts';

const signal = AbortSignal.timeout(60_000);
const MIB = 1024 * 1024;

async function* inChunks(bytes: Buffer): AsyncGenerator<Uint8Array, void> {
  for (let at = 0; at < bytes.byteLength; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

async function unpack(
  dir: string,
  archive: Buffer,
  over: Partial<ArtifactLimits> & { compression?: Compression } = {},
) {
  const { compression = 'none', ...limits } = over;
  const unpacker = createUnpacker(dir, { ...DEFAULT_LIMITS, ...limits });
  await unpacker.addArchive({ bytes: inChunks(archive), size: archive.byteLength, compression }, signal);
  return unpacker.finish();
}

const link = (name: string, linkname: string): TarItem => ({ name, type: 'symlink', linkname });

describe('unpacking', () => {
  it.each<[Compression, (tar: Buffer) => Buffer]>([
    ['none', (tar) => tar],
    ['gzip', (tar) => gzipSync(tar)],
    ['zstd', (tar) => zstdCompressSync(tar)],
  ])('writes files, folders and inner links (%s)', async (compression, compress) => {
    const long = `${'deep/'.repeat(30)}${'n'.repeat(200)}`;
    const tar = await makeTar([
      { name: './', type: 'directory' },
      { name: './Pulumi.yaml', content: 'name: shop\n', mode: 0o644 },
      { name: 'bin/run', content: '#!/bin/sh\n', mode: 0o4755, uid: 1234, gid: 1234 },
      { name: 'empty/', type: 'directory', mode: 0o777 },
      { name: 'ünï', content: 'x', mode: 0o222 },
      { name: long, content: 'y' },
      link('lib/current', '../bin/run'),
      link('dangling', 'not/there'),
      link('self', '.'),
    ]);
    const dir = await makeFolder();
    await unpack(dir, compress(tar), { compression });
    expect(await readFile(join(dir, 'Pulumi.yaml'), 'utf8')).toBe('name: shop\n');
    expect(await readFile(join(dir, 'lib/current'), 'utf8')).toBe('#!/bin/sh\n');
    expect(await readFile(join(dir, long), 'utf8')).toBe('y');
    expect(await readlink(join(dir, 'dangling'))).toBe('not/there');
    const mode = async (name: string) => (await stat(join(dir, name))).mode & 0o7777;
    expect([await mode('bin/run'), await mode('ünï')]).toEqual([0o755, 0o600]);
    expect((await stat(join(dir, 'bin/run'))).uid).toBe(process.getuid?.());
    expect((await stat(join(dir, 'empty'))).isDirectory()).toBe(true);
  });

  it.each<[string, TarItem[]]>([
    ['a path outside', [{ name: '../evil' }]],
    ['a path outside, in the middle', [{ name: 'a/../../evil' }]],
    ['a path that comes back', [{ name: 'a/../b' }]],
    ['an absolute path', [{ name: '/etc/evil' }]],
    ['a backslash', [{ name: '..\\evil' }]],
    ['a name with a line break', [{ name: 'a\nb' }]],
    ['no name', [{ name: './' }]],
    ['a hard link', [{ name: 'a' }, { name: 'b', type: 'link', linkname: 'a' }]],
    ['a hard link outside', [{ name: 'b', type: 'link', linkname: '/etc/passwd' }]],
    ['a character device', [{ name: 'null', type: 'character-device', devmajor: 1, devminor: 3 }]],
    ['a block device', [{ name: 'sda', type: 'block-device', devmajor: 8, devminor: 0 }]],
    ['a fifo', [{ name: 'pipe', type: 'fifo' }]],
    ['an absolute link', [link('a', '/etc/passwd')]],
    ['a link outside', [link('a', '../etc/passwd')]],
    ['a link outside from a folder', [link('a/b', '../../etc')]],
    ['a link that goes outside and back', [link('a', '../tree/b')]],
    ['a link outside through another link', [link('s/t/u', '../..'), link('v', 's/t/u/../..')]],
    ['a link outside through a later link', [link('v', 's/t/u/../..'), link('s/t/u', '../..')]],
    ['links in a circle', [link('a', 'b'), link('b', 'a')]],
    ['a file written through a link', [link('a', 'b'), { name: 'b/', type: 'directory' }, { name: 'a/evil' }]],
    ['a folder made through a link', [link('a', '.'), { name: 'a/', type: 'directory' }]],
    ['a link in place of a folder', [{ name: 'a/b' }, link('a', 'c')]],
    ['a file in place of a folder', [{ name: 'a/b' }, { name: 'a' }]],
    ['a folder in place of a file', [{ name: 'a' }, { name: 'a/b' }]],
    ['a name twice', [{ name: 'a' }, { name: './a' }]],
    ['names that differ by case', [{ name: 'README' }, { name: 'readme' }]],
    ['folders that differ by case', [{ name: 'A/x' }, { name: 'a/y' }]],
    ['names that differ by how an accent is written', [{ name: '\u00e9' }, { name: 'e\u0301' }]],
    ['a deletion mark', [{ name: 'a/.wh.b' }]],
    ['a name of 300 bytes', [{ name: 'n'.repeat(300) }]],
    ['a path of 2 KiB', [{ name: `${'n'.repeat(40)}/`.repeat(50) + 'x' }]],
    ['a path of 100 folders', [{ name: `${'d/'.repeat(100)}x` }]],
  ])('refuses %s', async (_, items) => {
    const tree = join(await makeFolder(), 'tree');
    await mkdir(tree, { mode: 0o700 });
    const failed = unpack(tree, await makeTar(items));
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'UnpackRefused' });
    expect(await readdir(join(tree, '..'))).toEqual(['tree']);
  });

  it.each<[string, Partial<ArtifactLimits>, TarItem[]]>([
    ['too many entries', { maxEntries: 3 }, [{ name: 'a' }, { name: 'b/c' }, { name: 'd' }]],
    ['a file too large', { maxFileBytes: 10 }, [{ name: 'a', content: 'x'.repeat(11) }]],
    [
      'too many bytes',
      { maxUnpackedBytes: 10_000 },
      [
        { name: 'a', content: 'x'.repeat(8_000) },
        { name: 'b', content: 'x'.repeat(8_000) },
      ],
    ],
  ])('refuses %s', async (_, limits, items) => {
    const failed = unpack(await makeFolder(), await makeTar(items), limits);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactTooLarge' });
  });

  it('stops a bomb long before it is unpacked', async () => {
    const bomb = gzipSync(await makeTar([{ name: 'zeros', content: Buffer.alloc(200 * MIB) }]));
    const dir = await makeFolder();
    const failed = unpack(dir, bomb, { compression: 'gzip' });
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactTooLarge' });
    expect((await stat(join(dir, 'zeros'))).size).toBeLessThan(60 * MIB);
  });

  it.each<[string, Compression, (tar: Buffer) => Buffer]>([
    ['no archive', 'none', () => Buffer.from('x'.repeat(2_000))],
    ['no gzip', 'gzip', (tar) => tar],
    ['a cut gzip', 'gzip', (tar) => gzipSync(tar).subarray(0, 40)],
    ['a cut tar', 'none', (tar) => tar.subarray(0, 700)],
    ['gzip with garbage behind it', 'gzip', (tar) => Buffer.concat([gzipSync(tar), Buffer.alloc(1_000_000, 7)])],
    ['gzip with zeros behind it', 'gzip', (tar) => Buffer.concat([gzipSync(tar), Buffer.alloc(100)])],
    ['zstd with garbage behind it', 'zstd', (tar) => Buffer.concat([zstdCompressSync(tar), Buffer.alloc(100, 7)])],
    ['zstd with another one behind it', 'zstd', (tar) => Buffer.concat([zstdCompressSync(tar), zstdCompressSync(tar)])],
    ['a tar with another one behind it', 'none', (tar) => Buffer.concat([tar, tar])],
    ['a gzip of that', 'gzip', (tar) => Buffer.concat([gzipSync(tar), gzipSync(tar)])],
    ['a tar with a word behind it', 'none', (tar) => Buffer.concat([tar, Buffer.from('evil'.padEnd(512))])],
    ['a cut zstd', 'zstd', (tar) => zstdCompressSync(tar).subarray(0, 20)],
    ['a broken checksum', 'none', (tar) => Buffer.from(tar).fill('9', 100, 106)],
  ])('says of %s that it is no archive', async (_, compression, spoil) => {
    const tar = await makeTar([{ name: 'a', content: 'hello '.repeat(500) }]);
    const failed = unpack(await makeFolder(), spoil(tar), { compression });
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
  });

  it('ends on a link that claims a content', async () => {
    const tar = await makeTar([{ name: 'a', content: 'x'.repeat(1_000) }]);
    tar.write('2', 156);
    tar.write('target', 157);
    const sum = [...tar.subarray(0, 148), ...Buffer.alloc(8, 32), ...tar.subarray(156, 512)].reduce((a, b) => a + b, 0);
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    await expect(unpack(await makeFolder(), tar)).rejects.toThrow('a link with a content');
  });

  it('holds a layer to the digest of its tar where one is stated', async () => {
    const tar = await makeTar([{ name: 'a', content: 'x' }]);
    const add = async (unpackedDigest: string) => {
      const unpacker = createUnpacker(await makeFolder(), DEFAULT_LIMITS);
      const source = { bytes: inChunks(gzipSync(tar)), size: 100, compression: 'gzip', unpackedDigest } as const;
      await unpacker.addArchive(source, signal);
    };
    await expect(add(digestOf(tar))).resolves.toBeUndefined();
    await expect(add(digestOf(Buffer.from('other')))).rejects.toMatchObject({ reason: 'DigestMismatch' });
  });

  it('takes a tar that is filled up with zeros, as tar does', async () => {
    const tar = await makeTar([{ name: 'a', content: 'x' }]);
    const dir = await makeFolder();
    await unpack(dir, Buffer.concat([tar, Buffer.alloc(10_240 - tar.byteLength)]));
    expect(await readFile(join(dir, 'a'), 'utf8')).toBe('x');
  });

  it.each<[string, TarItem]>([
    ['says one size in its header and another beside it', { name: 'a', content: 'x'.repeat(600), pax: { size: '1' } }],
    ['hides a file in the content of a folder', { name: 'd/', type: 'directory', size: 512 }],
  ])('refuses what readers would read in two ways: an entry that %s', async (_, item) => {
    const failed = unpack(await makeFolder(), await makeTar([item, { name: 'b', content: 'y' }]));
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: expect.stringMatching(/Artifact|Unpack/) });
  });

  it('refuses a name in a header for all entries', async () => {
    const tar = await makeTar([{ name: 'x', content: '12 path=evil\n' }, { name: 'b' }]);
    tar.write('g', 156);
    tar.write('        ', 148);
    const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    await expect(unpack(await makeFolder(), tar)).rejects.toThrow('a global header changes names or sizes');
  });

  it('takes only what lies in the folder a layer says it is', async () => {
    const dir = await makeFolder();
    const add = async (prefix: string, items: TarItem[]) => {
      const tar = await makeTar(items);
      const source = { bytes: inChunks(tar), size: tar.byteLength, compression: 'none', prefix } as const;
      const unpacker = createUnpacker(dir, DEFAULT_LIMITS);
      await unpacker.addArchive(source, signal);
    };
    await add('program', [{ name: 'program/', type: 'directory' }, { name: 'program/a' }]);
    await add('.', [{ name: './b' }]);
    await expect(add('program', [{ name: 'programs/a' }])).rejects.toMatchObject({ reason: 'UnpackRefused' });
  });

  it('counts names over all layers', async () => {
    const unpacker = createUnpacker(await makeFolder(), DEFAULT_LIMITS);
    const tar = await makeTar([{ name: 'a/b', content: 'x' }]);
    await unpacker.addArchive({ bytes: inChunks(tar), size: tar.byteLength, compression: 'none' }, signal);
    await unpacker.addFile('a/c', inChunks(Buffer.from('y')));
    await expect(unpacker.addFile('a/B', inChunks(tar))).rejects.toMatchObject({ reason: 'UnpackRefused' });
  });

  it('stops when the caller gives up', async () => {
    const stop = new Error('lease lost');
    const controller = new AbortController();
    async function* endless(): AsyncGenerator<Uint8Array, void> {
      yield await makeTar([{ name: 'a', content: 'x' }]);
      controller.abort(stop);
      for (;;) yield Buffer.alloc(512);
    }
    const unpacker = createUnpacker(await makeFolder(), DEFAULT_LIMITS);
    const failed = unpacker.addArchive({ bytes: endless(), size: 1, compression: 'none' }, controller.signal);
    await expect(failed).rejects.toBe(stop);
  });
});

describe('whatever an archive holds', () => {
  const part = fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom('a', 'b', 'c', 'd', 'e') },
    {
      weight: 2,
      arbitrary: fc.constantFrom(
        'A', '..', '.', '', '\u00e9', 'e\u0301', '.wh.a', '.wh..wh..opq', 'a\0b', '\\', '\u202e', 'n'.repeat(300),
      ), // prettier-ignore
    },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }) },
  );
  const path = fc
    .tuple(fc.constantFrom('', '', '', '', '', '', '', '/'), fc.array(part, { minLength: 1, maxLength: 5 }))
    .map(([root, parts]) => root + parts.join('/'));
  const mode = fc.constantFrom(0o644, 0o755, 0o4755, 0o6777, 0o000);
  const kind = fc.constantFrom('link', 'character-device', 'block-device', 'fifo', 'directory', 'symlink');
  const item = fc.oneof(
    { weight: 4, arbitrary: fc.tuple(path, mode).map(([name, bits]): TarItem => ({ name, content: 'x', mode: bits })) },
    { weight: 2, arbitrary: path.map((name): TarItem => ({ name, type: 'directory' })) },
    { weight: 3, arbitrary: fc.tuple(path, path).map(([name, target]): TarItem => link(name, target)) },
    {
      weight: 1,
      arbitrary: fc.tuple(path, path, kind).map(([name, linkname, type]): TarItem => ({ name, type, linkname })),
    },
    { weight: 1, arbitrary: path.map((name): TarItem => ({ name, content: Buffer.alloc(70_000, 'x') })) },
  );
  const archive = fc.array(item, { minLength: 1, maxLength: 6 });

  async function everything(dir: string): Promise<string[]> {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true });
    return entries.map((entry) => join(entry.parentPath, entry.name));
  }

  /** Unpacks into a folder beside a canary; true when it was taken. */
  async function attempt(root: string, name: string, act: (unpacker: Unpacker) => Promise<void>): Promise<boolean> {
    const tree = join(root, name);
    await mkdir(tree, { mode: 0o700 });
    const unpacker = createUnpacker(tree, { ...DEFAULT_LIMITS, maxFileBytes: 60_000 });
    const taken = await act(unpacker)
      .then(() => unpacker.finish())
      .then(
        () => true,
        (error: unknown) => {
          if (error instanceof ReconcileError) return false;
          throw error;
        },
      );
    for (const each of await everything(tree)) {
      const info = await lstat(each);
      expect(info.isFile() || info.isDirectory() || info.isSymbolicLink()).toBe(true);
      expect(info.isSymbolicLink() ? 0 : info.mode & 0o7022).toBe(0);
      const real = await realpath(each).catch(() => tree);
      expect(real === tree || real.startsWith(tree + sep)).toBe(true);
    }
    return taken;
  }

  async function assertHarmless(
    act: (unpacker: Unpacker, tar: Buffer) => Promise<void>,
    runs: number,
  ): Promise<number> {
    const root = await makeFolder();
    await writeFile(join(root, 'canary'), 'alive');
    let count = 0;
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(archive, async (items) => {
        const tar = await makeTar(items).catch(() => undefined);
        if (tar === undefined) return;
        count += 1;
        if (await attempt(root, `tree-${count}`, (unpacker) => act(unpacker, tar))) taken += 1;
        expect(await readdir(root)).toHaveLength(count + 1);
      }),
      { numRuns: runs },
    );
    expect(await readFile(join(root, 'canary'), 'utf8')).toBe('alive');
    return taken;
  }

  const sourceOf = (tar: Buffer) => ({ bytes: inChunks(tar), size: tar.byteLength, compression: 'none' }) as const;

  it('nothing is written outside, no link leads there, and no error is without a reason', async () => {
    const taken = await assertHarmless((unpacker, tar) => unpacker.addArchive(sourceOf(tar), signal), 200);
    // About thirty are; that all are refused would show nothing.
    expect(taken).toBeGreaterThan(0);
  });

  it('the same holds of layers of an image', async () => {
    const taken = await assertHarmless(async (unpacker, tar) => {
      await unpacker.addImageLayer(sourceOf(tar), '/', signal);
      await unpacker.addImageLayer(sourceOf(tar), '/', signal);
    }, 100);
    expect(taken).toBeGreaterThan(0);
  });

  it('the same holds of bytes that are spoilt anywhere', async () => {
    const spoil = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 });
    const root = await makeFolder();
    const tar = await makeTar([
      { name: 'a', content: 'x'.repeat(700) },
      { name: 'd/', type: 'directory' },
      link('l', 'a'),
    ]);
    let count = 0;
    await fc.assert(
      fc.asyncProperty(spoil, async (changes) => {
        const bytes = Buffer.from(tar);
        for (const [at, value] of changes) bytes[at % bytes.byteLength] = value;
        count += 1;
        await attempt(root, `tree-${count}`, (unpacker) => unpacker.addArchive(sourceOf(bytes), signal));
        expect(await readdir(root)).toHaveLength(count);
      }),
      { numRuns: 100 },
    );
  });
});
