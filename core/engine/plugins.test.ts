import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensurePlugins, requiredPlugins, type PluginOptions, type RequiredPlugin } from './plugins.ts';
import { createToolRunner } from './tool-runner.ts';

const scratch = mkdtempSync(join(tmpdir(), 'plumb-plugins-'));
const engine = join(import.meta.dirname, '..', '..', '.plumbline', 'engine', 'pulumi');
const requests: string[] = [];
const server = createServer();
let url = '';

beforeAll(async () => {
  writeFileSync(join(scratch, 'pulumi-resource-toy'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  const archive = spawnSync('tar', ['-cz', '-C', scratch, 'pulumi-resource-toy']).stdout;
  server.on('request', (request, response) => {
    requests.push(request.url ?? '');
    response.end(archive);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address === 'object' && address !== null) url = `http://127.0.0.1:${address.port}`;
});

afterAll(() => {
  server.close();
  rmSync(scratch, { recursive: true, force: true });
});

function modulesWith(packages: Record<string, object>): string {
  const modules = join(mkdtempSync(join(scratch, 'program-')), 'node_modules');
  for (const [name, manifest] of Object.entries(packages)) {
    mkdirSync(join(modules, name), { recursive: true });
    writeFileSync(join(modules, name, 'package.json'), JSON.stringify({ name, ...manifest }));
  }
  return modules;
}

describe('the provider plugins of a program', () => {
  it('are those its packages declare, sorted', () => {
    const modules = modulesWith({
      '@pulumi/random': { version: '4.16.0', pulumi: { resource: true, name: 'random' } },
      '@acme/pulumi-toy': {
        version: '1.0.0',
        pulumi: { resource: true, name: 'toy', server: 'https://example.com/x', version: '2.0.0' },
      },
      left: { version: '1.0.0' },
    });
    expect(requiredPlugins(modules)).toEqual([
      { name: 'random', version: 'v4.16.0', server: '' },
      { name: 'toy', version: 'v2.0.0', server: 'https://example.com/x' },
    ]);
  });

  it.each([
    ['name', { name: '--file', version: '1.0.0' }],
    ['version', { name: 'toy', version: '1.0.0 --reinstall' }],
    ['server', { name: 'toy', version: '1.0.0', server: 'file:///etc' }],
  ])('are refused when a %s could mislead the installer', (_, pulumi) => {
    const modules = modulesWith({ toy: { version: '1.0.0', pulumi: { resource: true, ...pulumi } } });
    expect(() => requiredPlugins(modules)).toThrow(
      expect.objectContaining({ kind: 'stalled', reason: 'ProgramInvalid' }),
    );
  });
});

describe.skipIf(!existsSync(engine) || process.platform !== 'linux')(
  'installing plugins with the real engine',
  { timeout: 60_000 },
  () => {
    const options = (plugins: RequiredPlugin[], cacheDir = mkdtempSync(join(scratch, 'cache-'))): PluginOptions => ({
      plugins,
      cacheDir,
      engine,
      own: {},
      signal: new AbortController().signal,
      timeoutMs: 30_000,
      run: createToolRunner({ isolation: 'namespaces', hiddenDirs: [] }),
    });

    it('needs no process when there are none', async () => {
      expect(await ensurePlugins(options([]))).toBeUndefined();
    });

    it('downloads each once, and never to where the official ones are', async () => {
      const plugin = { name: 'toy', version: 'v1.0.0', server: url };
      const { cacheDir } = options([]);
      const dirs = await Promise.all([1, 2].map(() => ensurePlugins(options([plugin], cacheDir))));
      expect(dirs[0]).toBe(dirs[1]);
      expect(dirs[0]).not.toContain('official');
      expect(readdirSync(dirs[0] ?? '')).toContain('resource-toy-v1.0.0');
      expect(requests.filter((path) => path.includes('toy'))).toHaveLength(1);
    });

    it('says what to do when a plugin cannot be had', async () => {
      const plugin = { name: 'toy', version: 'v1.0.0', server: 'http://127.0.0.1:1' };
      await expect(ensurePlugins(options([plugin]))).rejects.toMatchObject({
        kind: 'stalled',
        reason: 'PluginUnavailable',
        message: expect.stringMatching(/^the provider plugin toy v1\.0\.0 could not be installed .* --file <archive>$/),
      });
    });
  },
);
