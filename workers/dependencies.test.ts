import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '#core/config.ts';
import { createDependencies } from './dependencies.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'plumb-dependencies-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

async function write(path: string, content = ''): Promise<void> {
  await mkdir(dirname(join(dir, path)), { recursive: true });
  await writeFile(join(dir, path), content);
}

const TREE = `sha256:${'a'.repeat(64)}`;
const PLUGINS = `sha256:${'b'.repeat(64)}`;

/** Neither npm nor an engine is there: whatever would install something fails. */
function install(parts: { dependencies?: true; plugins?: true }) {
  const config = loadConfig({ PLUMBLINE_DATA: join(dir, 'data'), PLUMBLINE_KEY_FILE: join(dir, 'key') });
  return createDependencies(config, '/nowhere/pulumi', { PATH: '/nowhere' })({
    tenant: 'shop',
    runId: 'run',
    programDir: join(dir, 'program'),
    parts: {
      ...(parts.dependencies === undefined ? {} : { dependencies: { dir: join(dir, 'node_modules'), digest: TREE } }),
      ...(parts.plugins === undefined ? {} : { plugins: { dir: join(dir, 'plugins'), digest: PLUGINS } }),
    },
    signal: AbortSignal.timeout(20_000),
  });
}

describe('what an artifact brings along', () => {
  beforeEach(async () => {
    await write('program/Pulumi.yaml');
    await write('program/package.json', '{"dependencies": {"@acme/toy": "1.0.0"}}');
    await write(
      'node_modules/@acme/toy/package.json',
      '{"version": "1.0.0", "pulumi": {"resource": true, "name": "toy"}}',
    );
    await write('plugins/resource-toy-v1.0.0/pulumi-resource-toy');
  });

  it('is used as it is, and named by its layers', async () => {
    expect(await install({ dependencies: true, plugins: true })).toEqual({
      nodeModules: join(dir, 'node_modules'),
      plugins: join(dir, 'plugins'),
      digest: `${TREE} plugins ${PLUGINS}`,
    });
  });

  it.each([
    ['is another version', 'resource-toy-v1.0.0', 'resource-toy-v1.1.0'],
    ['was installed half-way', '', 'resource-toy-v1.0.0.partial/x'],
  ])('stalls when a plugin %s', async (_, gone, instead) => {
    if (gone !== '') await rm(join(dir, 'plugins', gone), { recursive: true });
    await write(`plugins/${instead}`);
    await expect(install({ dependencies: true, plugins: true })).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'PluginUnavailable',
      message: expect.stringContaining('but not toy v1.0.0'),
    });
  });

  it('does not mix with node_modules inside the program', async () => {
    await write('program/node_modules/x/package.json', '{}');
    const failed = install({ dependencies: true, plugins: true });
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'DependenciesFailed' });
  });

  it('is all there is: without it, npm is asked for', async () => {
    await expect(install({ plugins: true })).rejects.toThrow(/npm|lock file/);
  });
});
