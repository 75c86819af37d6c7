import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { PartLayer } from './artifact-parts.ts';
import { diffPrograms, type DiffSide } from './diff.ts';
import { listTree } from './pack-files.ts';
import { makeFolder } from './test-tar.ts';

async function side(files: Record<string, string | Buffer>, artifact?: DiffSide['artifact']): Promise<DiffSide> {
  const dir = await makeFolder();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return { dir, files: await listTree(dir), artifact };
}

async function change(of: DiffSide, act: (dir: string) => Promise<void>): Promise<DiffSide> {
  await act(of.dir);
  return { ...of, files: await listTree(of.dir) };
}

const plugins = (digest: string, platform?: string): PartLayer => ({
  part: 'plugins',
  layer: { type: 'archive', descriptor: { mediaType: 'x', digest, size: 1 }, compression: 'gzip' },
  platform,
});

describe('diffPrograms', () => {
  it('finds nothing between the same', async () => {
    const files = { 'a.ts': 'a', 'lib/b': Buffer.alloc(9) };
    expect(await diffPrograms(await side(files), await side(files))).toEqual({
      same: true,
      files: [],
      annotations: [],
      layers: [],
    });
  });

  it('shows what became of the text of files', async () => {
    const a = await side({ 'gone.ts': 'old\n', 'same.ts': 'x', 'some.ts': '1\n2\n3\n' });
    const b = await side({ 'new.ts': 'new\n', 'same.ts': 'x', 'some.ts': '1\n4\n3\n' });
    const { same, files } = await diffPrograms(a, b);
    expect(same).toBe(false);
    expect(files.map(({ path, change: what, kind }) => [path, what, kind])).toEqual([
      ['gone.ts', 'removed', 'text'],
      ['new.ts', 'added', 'text'],
      ['some.ts', 'changed', 'text'],
    ]);
    expect(files[2]?.patch).toContain('--- a/some.ts\n+++ b/some.ts\n@@ -1,3 +1,3 @@\n 1\n-2\n+4\n 3\n');
    expect(files[0]?.patch).toContain('+++ /dev/null');
  });

  it.each<[string, string | Buffer, string | Buffer]>([
    ['bytes', Buffer.from([0, 1]), Buffer.from([0, 2])],
    ['bytes that are no UTF-8', Buffer.from([0xff]), Buffer.from([0xfe])],
    ['a large text', 'x'.repeat(300_000), 'y'.repeat(300_000)],
  ])('says only that %s changed', async (_, before, after) => {
    const found = await diffPrograms(await side({ f: before }), await side({ f: after }));
    expect(found.files).toEqual([{ path: 'f', change: 'changed', kind: 'binary' }]);
  });

  it('sees whether a file can be run, links and kinds', async () => {
    const files = { run: 'x', a: 'a', b: 'b' };
    const a = await change(await side(files), async (dir) => symlink('a', join(dir, 'link')));
    const b = await change(await side(files), async (dir) => {
      await symlink('b', join(dir, 'link'));
      await chmod(join(dir, 'run'), 0o755);
    });
    expect((await diffPrograms(a, b)).files.map(({ path, kind }) => `${path} ${kind}`)).toEqual([
      'link link',
      'run mode',
    ]);
    const c = await change(await side({ a: 'a', b: 'b', link: 'a' }), async (dir) => symlink('a', join(dir, 'run')));
    expect((await diffPrograms(a, c)).files.map(({ path, kind }) => `${path} ${kind}`)).toEqual([
      'link type',
      'run type',
    ]);
  });

  it('compares annotations and layers where both sides have them', async () => {
    const one = { annotations: { revision: 'a', source: 's' }, parts: [plugins('sha256:1', 'linux/amd64')] };
    const two = {
      annotations: { revision: 'b', source: 's' },
      parts: [plugins('sha256:2', 'linux/amd64'), plugins('sha256:3')],
    };
    const found = await diffPrograms(await side({ f: '' }, one), await side({ f: '' }, two));
    expect(found).toEqual({
      same: false,
      files: [],
      annotations: [{ name: 'revision', before: 'a', after: 'b' }],
      layers: [
        { name: 'plugins', before: undefined, after: 'sha256:3' },
        { name: 'plugins linux/amd64', before: 'sha256:1', after: 'sha256:2' },
      ],
    });
    expect((await diffPrograms(await side({ f: '' }), await side({ f: '' }, two))).same).toBe(true);
  });
});
