import { access, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS, type ArtifactLimits } from './limits.ts';
import { makeFolder, makeTar, type TarItem } from './test-tar.ts';
import { createUnpacker } from './unpack.ts';

const signal = AbortSignal.timeout(30_000);

async function unpackImage(layers: TarItem[][], imagePath = '/program', limits: Partial<ArtifactLimits> = {}) {
  const dir = await makeFolder();
  const unpacker = createUnpacker(dir, { ...DEFAULT_LIMITS, ...limits });
  for (const layer of layers) {
    const tar = await makeTar(layer);
    const bytes = (async function* (): AsyncGenerator<Uint8Array, void> {
      yield tar;
    })();
    await unpacker.addImageLayer({ bytes, size: tar.byteLength, compression: 'none' }, imagePath, signal);
  }
  await unpacker.finish();
  const names = await readdir(dir, { recursive: true });
  return { dir, names: names.toSorted(), read: (name: string) => readFile(join(dir, name), 'utf8') };
}

const file = (name: string, content = name): TarItem => ({ name, content });
const folder = (name: string): TarItem => ({ name, type: 'directory' });

describe('a folder of an image', () => {
  it('is all that is kept, whatever else the image holds', async () => {
    const { dir, names } = await unpackImage([
      [
        folder('bin/'),
        file('bin/sh'),
        { name: 'bin/sh2', type: 'link', linkname: 'bin/sh' },
        { name: 'dev/null', type: 'character-device', devmajor: 1, devminor: 3 },
        { name: 'etc/mtab', type: 'symlink', linkname: '/proc/mounts' },
        folder('program/'),
        file('./program/Pulumi.yaml'),
        file('programs/no'),
        { name: 'program/run', content: 'x', mode: 0o4755 },
        { name: 'program/link', type: 'symlink', linkname: 'Pulumi.yaml' },
      ],
    ]);
    expect(names).toEqual(['Pulumi.yaml', 'link', 'run']);
    expect(await readlink(join(dir, 'link'))).toBe('Pulumi.yaml');
    expect((await stat(join(dir, 'run'))).mode & 0o7777).toBe(0o755);
  });

  it('is the root of the image where that is asked for', async () => {
    expect((await unpackImage([[file('Pulumi.yaml'), file('a/b')]], '/')).names).toEqual(['Pulumi.yaml', 'a', 'a/b']);
  });

  it.each<[string, TarItem[][], string[]]>([
    ['a file that is deleted', [[file('program/a'), file('program/b')], [file('program/.wh.a')]], ['b']],
    ['a folder that is deleted', [[file('program/d/x/y'), file('program/b')], [file('program/.wh.d')]], ['b']],
    ['a deletion that comes before', [[file('program/.wh.a'), file('program/a')]], ['a']],
    [
      'a deletion behind an addition of the same layer',
      [[file('program/a', '1')], [file('program/a', '2'), file('program/.wh.a')]],
      ['a'],
    ],
    [
      'an opaque folder',
      [[file('program/d/old')], [file('program/d/.wh..wh..opq'), file('program/d/new')]],
      ['d', 'd/new'],
    ],
    [
      'an opaque folder whose mark comes last',
      [[file('program/d/old')], [file('program/d/new'), file('program/d/.wh..wh..opq')]],
      ['d', 'd/new'],
    ],
    ['a file in place of a folder', [[file('program/d/x')], [file('program/d')]], ['d']],
    ['a folder in place of a file', [[file('program/d')], [folder('program/d/'), file('program/d/x')]], ['d', 'd/x']],
    [
      'a file in place of a link',
      [[{ name: 'program/l', type: 'symlink', linkname: 'x' }], [file('program/l')]],
      ['l'],
    ],
    [
      'a folder in place of a link',
      [[{ name: 'program/l', type: 'symlink', linkname: '.' }], [file('program/l/x')]],
      ['l', 'l/x'],
    ],
    ['the folder deleted whole', [[file('program/a')], [file('.wh.program')]], []],
    ['the folder deleted and made again', [[file('program/a')], [file('.wh.program'), file('program/b')]], ['b']],
    ['all below the root deleted', [[file('program/a')], [file('.wh..wh..opq'), file('program/b')]], ['b']],
    ['another folder deleted', [[file('program/a')], [file('.wh.programs'), file('opt/.wh.program')]], ['a']],
    [
      'the folder replaced by a link',
      [[file('program/a')], [{ name: 'program', type: 'symlink', linkname: 'opt' }]],
      [],
    ],
  ])('has the layers applied in order: %s', async (_, layers, expected) => {
    expect((await unpackImage(layers)).names).toEqual(expected);
  });

  it('has the content of the last layer', async () => {
    const { read } = await unpackImage([[file('program/a', 'old')], [file('program/a', 'new')]]);
    expect(await read('a')).toBe('new');
  });

  it.each<[string, TarItem[][]]>([
    ['a hard link in it', [[file('program/a'), { name: 'program/b', type: 'link', linkname: 'program/a' }]]],
    ['a device in it', [[{ name: 'program/null', type: 'character-device', devmajor: 1, devminor: 3 }]]],
    ['a link out of it', [[{ name: 'program/l', type: 'symlink', linkname: '../etc/passwd' }]]],
    ['a name that goes up', [[file('program/../../x')]]],
    ['a name that goes up elsewhere', [[file('a/../program/x')]]],
    ['a name twice in one layer', [[file('program/a'), file('program/a')]]],
    ['names that differ by case over two layers', [[file('program/a')], [file('program/A')]]],
    ['a deletion mark that names nothing', [[file('program/.wh.')]]],
  ])('is refused with %s', async (_, layers) => {
    await expect(unpackImage(layers)).rejects.toMatchObject({ kind: 'stalled', reason: 'UnpackRefused' });
  });

  it('counts what it passes over', async () => {
    const failed = unpackImage([[file('a'), file('b'), file('c'), file('program/d')]], '/program', { maxEntries: 3 });
    await expect(failed).rejects.toMatchObject({ reason: 'ArtifactTooLarge' });
    const bytes = unpackImage([[file('a', 'x'.repeat(9_000))]], '/program', { maxUnpackedBytes: 8_000 });
    await expect(bytes).rejects.toMatchObject({ reason: 'ArtifactTooLarge' });
  });

  it('never deletes outside', async () => {
    const outside = await makeFolder();
    const failed = unpackImage([[file('program/a')], [file(`program/.wh.../../${outside}`)]]);
    await expect(failed).rejects.toMatchObject({ reason: 'UnpackRefused' });
    await expect(access(outside)).resolves.toBeUndefined();
  });
});
