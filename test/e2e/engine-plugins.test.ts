import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { ensurePlugins, type PluginOptions, type RequiredPlugin } from '#core/engine/plugins.ts';
import { createToolRunner } from '#core/engine/tool-runner.ts';

const scratch = mkdtempSync(join(tmpdir(), 'plumb-plugins-'));
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

describe('installing plugins with the real engine', () => {
  const options = (plugins: RequiredPlugin[], cacheDir = mkdtempSync(join(scratch, 'cache-'))): PluginOptions => ({
    plugins,
    cacheDir,
    engine: inject('pulumi'),
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
});
