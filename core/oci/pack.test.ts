import { chmod, mkdir, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from './digest.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { parseImageManifest } from './manifest.ts';
import { DEPENDENCIES_LAYER, PLUGINS_LAYER, PROGRAM_ARTIFACT, PROGRAM_LAYER } from './media-types.ts';
import { packProgram, pushProgram, type PackOptions } from './pack.ts';
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

async function packHere(options: PackOptions) {
  const packed = await packProgram(options, await makeFolder(), signal);
  const chunks: Uint8Array[] = [];
  for await (const chunk of packed.layers[0].open()) chunks.push(chunk);
  return { ...packed, layer: Buffer.concat(chunks) };
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
      await packHere({ dir: one, annotations }),
      await packHere({ dir: two, annotations: { a: '1', b: '2' } }),
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
    const before = await packHere({ dir });
    await change(dir);
    expect((await packHere({ dir })).digest).not.toBe(before.digest);
  });

  it('writes a manifest of our type', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    const { manifest, digest, layer } = await packHere({ dir, annotations: { x: 'y' } });
    expect(digest).toBe(digestOf(manifest));
    expect(parseImageManifest(manifest, 'it')).toMatchObject({
      artifactType: PROGRAM_ARTIFACT,
      layers: [{ mediaType: PROGRAM_LAYER, digest: digestOf(layer), size: layer.byteLength }],
      annotations: { x: 'y', 'org.opencontainers.image.title': 'shop', 'dev.plumbline.runtime': 'yaml' },
    });
  });

  it('says of itself what Pulumi.yaml says, unless it is told otherwise', async () => {
    const project = 'name: shop\nruntime: {name: nodejs, options: {}}\ndescription: sells things\n';
    const dir = await writeProgram({ 'Pulumi.yaml': project });
    const { manifest } = await packHere({ dir, annotations: { 'org.opencontainers.image.title': 'Shop' } });
    expect(parseImageManifest(manifest, 'it').annotations).toEqual({
      'org.opencontainers.image.title': 'Shop',
      'org.opencontainers.image.description': 'sells things',
      'dev.plumbline.runtime': 'nodejs',
    });
  });

  it('packs dependencies and plugins into layers of their own, without what tools keep there', async () => {
    const dir = await writeProgram({
      'Pulumi.yaml': PROJECT,
      'node_modules/a/index.js': 'a',
      'node_modules/.package-lock.json': '{}',
      'node_modules/.cache/x': '',
    });
    await symlink('../a/index.js', join(dir, 'node_modules/a/bin'));
    const plugins = await writeProgram({ 'resource-x-v1.0.0/pulumi-resource-x': 'x', 'resource-x-v1.0.0.lock': '' });
    const parts = [
      { part: 'dependencies', dir: join(dir, 'node_modules') },
      { part: 'plugins', dir: plugins, platform: 'linux/amd64' },
    ] as const;
    const first = await packHere({ dir, parts });
    expect(parseImageManifest(first.manifest, 'it').layers).toMatchObject([
      { mediaType: PROGRAM_LAYER },
      { mediaType: DEPENDENCIES_LAYER, annotations: { 'org.opencontainers.image.title': 'node_modules.tar.gz' } },
      { mediaType: PLUGINS_LAYER, annotations: { 'dev.plumbline.platform': 'linux/amd64' } },
    ]);
    await writeFile(join(dir, 'node_modules/.package-lock.json'), '{"other": 1}');
    await writeFile(join(plugins, 'resource-x-v1.0.0.lock'), 'x');
    expect((await packHere({ dir, parts })).digest).toBe(first.digest);
    await writeFile(join(plugins, 'resource-x-v1.0.0.partial'), '');
    await expect(packHere({ dir, parts })).rejects.toThrow('half installed');
  });

  it('streams a file that is too large to hold', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    const big = Buffer.alloc(5 * 1024 * 1024, 'plumb');
    await writeFile(join(dir, 'big'), big);
    const { layer } = await packHere({ dir });
    expect(gunzipSync(layer).includes(big)).toBe(true);
  });

  it('refuses a .sourceignore that leaves Pulumi.yaml out', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT, '.sourceignore': '*.yaml\n' });
    await expect(packHere({ dir })).rejects.toThrow('leaves Pulumi.yaml out');
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
    expect((await packHere({ dir })).files).toEqual(['.env.example', 'Pulumi.yaml', 'index.ts']);
  });

  it('unpacks to what was packed, inner links and long names too', async () => {
    const long = `${'deep/'.repeat(30)}${'ü'.repeat(100)}`;
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT, [long]: 'x', 'bin/run': '#!/bin/sh' });
    await chmod(join(dir, 'bin/run'), 0o755);
    await symlink('bin/run', join(dir, 'go'));
    const { layer } = await packHere({ dir });
    const tree = await makeFolder();
    const unpacker = createUnpacker(tree, DEFAULT_LIMITS);
    const bytes = (async function* (): AsyncGenerator<Uint8Array, void> {
      yield gunzipSync(layer);
    })();
    await unpacker.addArchive({ bytes, size: layer.byteLength, compression: 'none' }, signal);
    await unpacker.finish();
    const [packed, unpacked] = [await packHere({ dir }), await packHere({ dir: tree })];
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
    const failed = packHere({ dir: await writeProgram(files) });
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ProgramInvalid' });
  });

  it('refuses what no worker would unpack', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    await symlink('/etc/passwd', join(dir, 'passwd'));
    await expect(packHere({ dir })).rejects.toMatchObject({ reason: 'UnpackRefused' });
  });

  it('refuses a socket', async () => {
    const dir = await writeProgram({ 'Pulumi.yaml': PROJECT });
    const server = createServer();
    await new Promise<void>((resolve) => {
      server.listen(join(dir, 'sock'), resolve);
    });
    onTestFinished(() => void server.close());
    await expect(packHere({ dir })).rejects.toMatchObject({ reason: 'ProgramInvalid' });
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
