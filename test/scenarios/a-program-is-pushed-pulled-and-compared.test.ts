import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startRegistry, type RunningRegistry } from '../../registry/server.ts';

const PLUMB = join(import.meta.dirname, '..', '..', 'cli', 'plumb.ts');

interface Ended {
  code: number;
  out: string;
  error: string;
}

function plumb(...args: string[]): Promise<Ended> {
  const options = { env: { PATH: process.env['PATH'] }, timeout: 60_000 };
  return new Promise((resolve) => {
    execFile(process.execPath, [PLUMB, ...args], options, (error, out, said) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, error: said });
    });
  });
}

let root: string;
let registry: RunningRegistry;
let dir: string;
let tag: string;
let tests = 0;
const PROJECT = 'name: shop\nruntime: nodejs\ndescription: sells things\n';

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'plumbline-cli-'));
  registry = await startRegistry({ dir: join(root, 'registry') });
});
afterAll(async () => {
  await registry.close();
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  dir = join(root, `program-${(tests += 1)}`);
  tag = `oci://127.0.0.1:${registry.port}/infra/shop-${tests}`;
  await write({ 'Pulumi.yaml': PROJECT, 'index.ts': 'export const one = 1;\n', '.env': 'TOKEN=x' });
});

async function write(files: Record<string, string>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content);
  }
}

async function push(version: string): Promise<void> {
  expect(await plumb('push', dir, `${tag}:${version}`, '--plain-http', '--no-git')).toMatchObject({ code: 0 });
}

describe('plumb pull', () => {
  it('gives back what was pushed, and says what it is', async () => {
    await push('1.0.0');
    const into = join(root, `pulled-${tests}`);
    const pulled = await plumb('-o', 'json', 'pull', `${tag}:1.0.0`, into, '--plain-http');
    expect(pulled).toMatchObject({ code: 0, error: '' });
    const said: unknown = JSON.parse(pulled.out);
    expect(said).toMatchObject({
      revision: expect.stringMatching(/^1\.0\.0@sha256:[a-f0-9]{64}$/),
      format: 'plumbline',
      annotations: {
        'org.opencontainers.image.title': 'shop',
        'org.opencontainers.image.description': 'sells things',
        'dev.plumbline.runtime': 'nodejs',
      },
    });
    expect((await readdir(into)).toSorted()).toEqual(['Pulumi.yaml', 'index.ts']);
    expect(await readFile(join(into, 'Pulumi.yaml'), 'utf8')).toBe(PROJECT);
    expect((await stat(into)).mode & 0o077).not.toBe(0o077);
  });

  it('never writes over anything, and leaves nothing of what fails', async () => {
    await push('1.0.0');
    const again = await plumb('pull', `${tag}:1.0.0`, dir, '--plain-http');
    expect(again).toMatchObject({ code: 2 });
    expect(again.error).toContain('is not empty');
    const missing = join(root, `missing-${tests}`, 'deep');
    const failed = await plumb('pull', `${tag}:2.0.0`, missing, '--plain-http');
    expect(failed).toMatchObject({ code: 1 });
    expect(failed.error).toContain('[SourceNotFound]');
    expect(await readdir(dirname(missing))).toEqual([]);
  });
});

describe('plumb diff', () => {
  it('ends with 0 for the same, and with 1 for others, which it shows', async () => {
    await push('1.0.0');
    const same = await plumb('diff', `${tag}:1.0.0`, dir, '--plain-http');
    expect(same).toEqual({ code: 0, out: 'no difference\n', error: '' });
    await write({ 'index.ts': 'export const one = 2;\n', 'new\u001b[31m.ts': 'x' });
    const folder = await plumb('diff', `${tag}:1.0.0`, dir, '--plain-http');
    expect(folder.code).toBe(1);
    expect(folder.out).toContain('-export const one = 1;\n+export const one = 2;');
    expect(folder.out).not.toContain('\u001b');
  });

  it('compares two versions, their annotations among them', async () => {
    await push('1.0.0');
    await write({ 'Pulumi.yaml': PROJECT.replace('things', 'more') });
    await push('2.0.0');
    const found = await plumb('-o', 'json', 'diff', `${tag}:1.0.0`, `${tag}:2.0.0`, '--plain-http');
    expect(found.code).toBe(1);
    const said: unknown = JSON.parse(found.out);
    expect(said).toMatchObject({
      same: false,
      annotations: [{ name: 'org.opencontainers.image.description', before: 'sells things', after: 'sells more' }],
      files: [{ path: 'Pulumi.yaml', change: 'changed', kind: 'text' }],
      layers: [],
    });
  });
});

describe('plumb push', () => {
  it('gives the same digest for the same tree', async () => {
    const digests = [];
    for (const version of ['1.0.0', '2.0.0']) {
      const { out } = await plumb('-o', 'json', 'push', dir, `${tag}:${version}`, '--plain-http');
      digests.push(/"digest": "(sha256:[a-f0-9]+)"/.exec(out)?.[1]);
    }
    expect(digests[0]).toBe(digests[1]);
  });

  it.each([
    ['dependencies that are not installed', ['--with-dependencies'], 1, 'has no node_modules folder'],
    ['a folder of plugins that is not there', ['--with-plugins', 'linux/arm64=/nowhere'], 2, '/nowhere is no folder'],
    ['a folder of plugins without one', ['--with-plugins', import.meta.dirname], 2, 'resource-<name>-v<version>'],
  ])('refuses %s', async (_, flags, code, message) => {
    const failed = await plumb('push', dir, `${tag}:1.0.0`, '--plain-http', ...flags);
    expect(failed.code).toBe(code);
    expect(failed.error).toContain(message);
  });
});
