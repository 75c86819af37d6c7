import { chmod, mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from './digest.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { parseImageManifest } from './manifest.ts';
import { PROGRAM_ARTIFACT, PROGRAM_LAYER } from './media-types.ts';
import { packProgram, pushProgram } from './pack.ts';
import type { Pusher } from './port.ts';
import { makeFolder } from './test-tar.ts';
import { createUnpacker } from './unpack.ts';

const signal = AbortSignal.timeout(20_000);
const PROJECT = 'name: shop\nruntime: yaml\n';

async function writeProgram(files: Record<string, string>): Promise<string> {
  const dir = await makeFolder();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
  return dir;
}

describe('packProgram', () => {
  it('gives the same digest for the same files, whatever their times, modes and order', async () => {
    const one = await writeProgram({ 'Pulumi.yaml': PROJECT, 'lib/a.ts': 'a', 'lib-x': 'x', 'b.ts': 'b' });
    const two = await writeProgram({ 'b.ts': 'b', 'lib-x': 'x', 'lib/a.ts': 'a', 'Pulumi.yaml': PROJECT });
    await utimes(join(two, 'b.ts'), new Date(0), new Date(0));
    await chmod(join(two, 'b.ts'), 0o600);
    await mkdir(join(two, 'empty'));
    const annotations = { b: '2', a: '1' };
    const [first, second] = [
      await packProgram({ dir: one, annotations }, signal),
      await packProgram({ dir: two, annotations: { a: '1', b: '2' } }, signal),
    ];
    expect(second.digest).toBe(first.digest);
    expect(first.layer.subarray(0, 10)).toEqual(Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]));
    expect(first.files).toEqual(['Pulumi.yaml', 'b.ts', 'lib-x', 'lib/a.ts']);
  });

  it.each<[string, (dir: string) => Promise<void>]>([
    ['a byte', (dir) => writeFile(join(dir, 'a.sh'), 'b')],
    ['whether a file can be run', (dir) => chmod(join(dir, 'a.sh'), 0o755)],
    ['a new file', (dir) => writeFile(join(dir, 'c'), '')],
  ])('gives another digest for %s', async (_, change) => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT, 'a.sh': 'a' });
    const before = await packProgram({ dir }, signal);
    await change(dir);
    expect((await packProgram({ dir }, signal)).digest).not.toBe(before.digest);
  });

  it('writes a manifest of our type', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    const { manifest, digest, layer } = await packProgram({ dir, annotations: { x: 'y' } }, signal);
    expect(digest).toBe(digestOf(manifest));
    expect(parseImageManifest(manifest, 'it')).toMatchObject({
      artifactType: PROGRAM_ARTIFACT,
      layers: [{ mediaType: PROGRAM_LAYER, digest: digestOf(layer), size: layer.byteLength }],
      annotations: { x: 'y' },
    });
  });

  it('leaves out secrets, dependencies, stack settings and what .sourceignore names', async () => {
    const dir = await writeProgram({
      'Pulumi.yaml': PROJECT,
      'Pulumi.prod.yaml': 'config: {}',
      '.env': 'TOKEN=x',
      '.npmrc': '//r/:_authToken=x',
      'node_modules/a/index.js': '',
      '.git/HEAD': '',
      '.sourceignore': '*.test.ts\n/docs/\n!.env.example\n',
      '.env.example': 'TOKEN=',
      'index.ts': '',
      'index.test.ts': '',
      'docs/a.md': '',
    });
    expect((await packProgram({ dir }, signal)).files).toEqual(['.env.example', 'Pulumi.yaml', 'index.ts']);
  });

  it('unpacks to what was packed, inner links and long names too', async () => {
    const long = `${'deep/'.repeat(30)}${'ü'.repeat(100)}`;
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT, [long]: 'x', 'bin/run': '#!/bin/sh' });
    await chmod(join(dir, 'bin/run'), 0o755);
    await symlink('bin/run', join(dir, 'go'));
    const { layer } = await packProgram({ dir }, signal);
    const tree = await makeFolder();
    const unpacker = createUnpacker(tree, DEFAULT_LIMITS);
    const bytes = (async function* (): AsyncGenerator<Uint8Array, void> {
      yield gunzipSync(layer);
    })();
    await unpacker.addArchive({ bytes, size: layer.byteLength, compression: 'none' }, signal);
    await unpacker.finish();
    const [packed, unpacked] = [await packProgram({ dir }, signal), await packProgram({ dir: tree }, signal)];
    expect(unpacked.files).toEqual(packed.files);
    expect(unpacked.digest).toBe(packed.digest);
  });

  it.each<[string, Record<string, string>, string]>([
    ['no Pulumi.yaml', { 'index.ts': '' }, 'has no Pulumi.yaml'],
    ['a Pulumi.yaml that is no YAML', { 'Pulumi.yaml': 'name: [' }, 'not valid YAML'],
    ['a project without a name', { 'Pulumi.yaml': 'runtime: nodejs' }, 'has no name'],
    ['a project without a runtime', { 'Pulumi.yaml': 'name: shop' }, 'names no runtime'],
    ['a folder for Pulumi.yaml', { 'Pulumi.yaml/x': '' }, 'has no Pulumi.yaml'],
  ])('refuses %s', async (_, files, message) => {
    const failed = packProgram({ dir: await writeProgram(files) }, signal);
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ProgramInvalid' });
  });

  it('refuses what no worker would unpack', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    await symlink('/etc/passwd', join(dir, 'passwd'));
    await expect(packProgram({ dir }, signal)).rejects.toMatchObject({ reason: 'UnpackRefused' });
  });

  it('refuses a socket', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(join(dir, 'sock'), resolve);
    });
    onTestFinished(() => void server.close());
    await expect(packProgram({ dir }, signal)).rejects.toMatchObject({ reason: 'ProgramInvalid' });
  });
});

describe('pushProgram', () => {
  it('pushes what the tag needs before the tag', async () => {
    const order: string[] = [];
    const client: Pusher = {
      async pushBlob() {
        order.push('blob');
        return { existed: false };
      },
      async pushManifest(_, reference, { bytes, mediaType }) {
        order.push(reference);
        return { digest: digestOf(bytes), mediaType, size: bytes.byteLength };
      },
    };
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    const options = { dir, repository: { host: 'r.io', name: 'a' }, tag: 'v1' };
    const pushed = await pushProgram(client, options, signal);
    expect(order).toEqual(['blob', 'blob', 'v1']);
    expect(pushed).toMatchObject({ revision: `v1@${pushed.digest}`, existed: false });
    await expect(pushProgram(client, { ...options, tag: '../x' }, signal)).rejects.toMatchObject({
      reason: 'InvalidReference',
    });
  });
});
