import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ensureDependencies, findNpmCli, type DependencyOptions } from './dependencies.ts';
import { createToolRunner } from './tool-runner.ts';

const scratch = mkdtempSync(join(tmpdir(), 'plumb-dependencies-'));
const server = createServer();
let tarball: Buffer;
let downloads = 0;
let port = 0;
let options: DependencyOptions;

/** A real package with an install script that must never run. */
function packTarball(): Buffer {
  const dir = join(scratch, 'package');
  mkdirSync(dir);
  writeFileSync(
    join(dir, 'package.json'),
    JSON.stringify({ name: 'left', version: '1.0.0', scripts: { install: 'touch ran' } }),
  );
  writeFileSync(join(dir, 'index.js'), 'module.exports = 42');
  return spawnSync('tar', ['-cz', '-C', scratch, 'package']).stdout;
}

beforeAll(async () => {
  tarball = packTarball();
  writeFileSync(join(scratch, 'npmrc'), 'fetch-retries=0\n');
  server.on('request', (_, response) => {
    downloads += 1;
    response.end(tarball);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address === 'object' && address !== null) port = address.port;
});

afterAll(() => {
  server.close();
  rmSync(scratch, { recursive: true, force: true });
});

function writeProgram(files: Record<string, unknown>): string {
  const dir = mkdtempSync(join(scratch, 'program-'));
  for (const [name, content] of Object.entries(files)) {
    writeFileSync(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return dir;
}

function lockFile(integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`) {
  return {
    name: 'program',
    version: '0.0.0',
    lockfileVersion: 3,
    packages: {
      '': { name: 'program', version: '0.0.0', dependencies: { left: '1.0.0' } },
      'node_modules/left': {
        version: '1.0.0',
        resolved: `http://127.0.0.1:${port}/left.tgz`,
        integrity,
        hasInstallScript: true,
      },
    },
  };
}

const withLeft = { dependencies: { left: '1.0.0' }, scripts: { preinstall: 'touch ran' } };

beforeEach(async () => {
  downloads = 0;
  options = {
    programDir: '',
    cacheDir: mkdtempSync(join(scratch, 'cache-')),
    node: process.execPath,
    npmCli: (await findNpmCli(process.execPath, '/usr/local/bin:/usr/bin')) ?? '',
    userConfig: join(scratch, 'npmrc'),
    own: {},
    signal: new AbortController().signal,
    timeoutMs: 60_000,
    run: createToolRunner({ isolation: process.platform === 'linux' ? 'namespaces' : 'none', hiddenDirs: [] }),
  };
});

describe('dependencies of a program', { timeout: 60_000 }, () => {
  it('are installed once for a lock file, by however many ask at once, and none of their scripts runs', async () => {
    const first = writeProgram({ 'package.json': withLeft, 'package-lock.json': lockFile() });
    const second = writeProgram({
      'package.json': { ...withLeft, description: 'other' },
      'package-lock.json': lockFile(),
    });
    const [a, b] = await Promise.all(
      [first, second].map((programDir) => ensureDependencies({ ...options, programDir })),
    );
    expect(a).toEqual(b);
    expect(a?.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(readFileSync(join(a?.nodeModules ?? '', 'left', 'index.js'), 'utf8')).toBe('module.exports = 42');
    expect(readdirSync(join(a?.nodeModules ?? '', 'left'))).not.toContain('ran');
    expect(downloads).toBe(1);
    expect(
      readdirSync(options.cacheDir).filter((name) => name.startsWith('.staging') || name.endsWith('.lock')),
    ).toEqual([]);
  });

  it('are installed by the next one after a killed installer left its lock', async () => {
    const programDir = writeProgram({ 'package.json': withLeft, 'package-lock.json': lockFile() });
    const { digest, nodeModules } = await ensureDependencies({ ...options, programDir });
    rmSync(join(nodeModules ?? '', '..'), { recursive: true });
    const lock = join(options.cacheDir, `${digest.replace(':', '-')}.lock`);
    writeFileSync(lock, '1 dead');
    utimesSync(lock, 0, 0);
    expect(await ensureDependencies({ ...options, programDir })).toEqual({ digest, nodeModules });
  });

  it('with other bytes than the lock file says are refused', async () => {
    const programDir = writeProgram({
      'package.json': withLeft,
      'package-lock.json': lockFile(`sha512-${Buffer.alloc(64).toString('base64')}`),
    });
    await expect(ensureDependencies({ ...options, programDir })).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'DependenciesFailed',
      message: expect.stringMatching(/^npm ci failed: code EINTEGRITY\n.*sha512/i),
    });
    expect(readdirSync(options.cacheDir).filter((name) => name.startsWith('sha256'))).toEqual([]);
  });

  it('are tried again later when the registry cannot be reached', async () => {
    const text = JSON.stringify(lockFile()).replace(`:${port}/`, ':1/');
    const programDir = writeProgram({
      'package.json': withLeft,
      'package-lock.json': text,
      '.npmrc': 'registry=http://127.0.0.1:2/',
    });
    await expect(ensureDependencies({ ...options, programDir })).rejects.toMatchObject({
      kind: 'transient',
      reason: 'DependenciesFailed',
    });
  });

  it.each([
    ['no package.json', {}],
    ['no dependencies', { 'package.json': { name: 'x' } }],
    ['only development dependencies', { 'package.json': { devDependencies: { left: '1.0.0' } } }],
  ])('need no npm with %s', async (_, files) => {
    expect(await ensureDependencies({ ...options, programDir: writeProgram(files) })).toEqual({
      digest: 'none',
      nodeModules: undefined,
    });
  });

  it('that the artifact brings along are used as they are', async () => {
    const programDir = writeProgram({ 'package.json': withLeft });
    mkdirSync(join(programDir, 'node_modules'));
    expect(await ensureDependencies({ ...options, programDir })).toEqual({ digest: 'bundled', nodeModules: undefined });
  });

  it.each([
    ['no lock file', { 'package.json': withLeft }, /no lock file/],
    ['a lock file of yarn', { 'package.json': withLeft, 'yarn.lock': '' }, /yarn\.lock/],
    ['a lock file of pnpm', { 'package.json': withLeft, 'pnpm-lock.yaml': '' }, /pnpm-lock\.yaml/],
    [
      'a lock file that is no JSON',
      { 'package.json': withLeft, 'package-lock.json': '{' },
      /package-lock\.json is not a JSON object/,
    ],
    ['a package.json that is no object', { 'package.json': '[]' }, /package\.json is not a JSON object/],
    [
      'a local package',
      { 'package.json': withLeft, 'package-lock.json': { packages: { lib: { link: true } } } },
      /local package lib/,
    ],
  ])('are refused with %s', async (_, files, message) => {
    await expect(ensureDependencies({ ...options, programDir: writeProgram(files) })).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'DependenciesFailed',
      message: expect.stringMatching(message),
    });
  });
});
