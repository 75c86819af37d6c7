import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { buildTools } from './engine-build.ts';
import { engineVersion, firstMatching } from './engine-find.ts';
import { ensureEngine } from './engine.ts';
import type { Progress } from './progress.mjs';

describe('the Pulumi engine', { timeout: 30_000 }, () => {
  let dir = '';
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plumbline-engine-'));
  });
  afterEach(() => void vi.unstubAllEnvs());
  afterAll(() => rm(dir, { recursive: true, force: true }));

  async function fakePulumi(name: string, version: string): Promise<string> {
    const folder = join(dir, name);
    await mkdir(folder);
    for (const binary of ['pulumi', 'pulumi-language-yaml']) {
      await writeFile(join(folder, binary), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
    }
    return join(folder, 'pulumi');
  }

  it('is taken from where the user says, once, with the hosts beside it', async () => {
    const override = await fakePulumi('given', `v${engineVersion}`);
    const options = { toolchainDir: join(dir, 'cache'), override, onProgress: vi.fn<Progress>() };
    const parts = await ensureEngine(options);
    expect(await readFile(parts.pulumi, 'utf8')).toContain(engineVersion);
    for (const name of ['pulumi-language-yaml', 'pulumi-language-nodejs', 'pulumi-resource-pulumi-nodejs']) {
      await expect(access(join(parts.dir, name))).resolves.toBeUndefined();
    }
    await rm(override);
    expect(await ensureEngine(options)).toEqual(parts);
    expect(options.onProgress).not.toHaveBeenCalled();
  });

  it('is passed over, and said to be, when it has another version than the pinned one', async () => {
    const other = await fakePulumi('other', 'v3.1.0');
    vi.stubEnv('PATH', join(dir, 'other'));
    const onProgress = vi.fn<Progress>();
    expect(await firstMatching(other, onProgress)).toBeUndefined();
    expect(onProgress).toHaveBeenCalledWith(
      `${other} is pulumi 3.1.0, Plumbline needs exactly ${engineVersion}: passed over`,
      true,
    );
  });

  it('has the version that go.mod requires', async () => {
    const goMod = await readFile(join(import.meta.dirname, 'pulumi', 'go.mod'), 'utf8');
    expect(goMod).toContain(`github.com/pulumi/pulumi/pkg/v3 v${engineVersion}`);
  });

  it('says what to install where there is no Go compiler', async () => {
    vi.stubEnv('PATH', join(dir, 'nothing'));
    await expect(buildTools(['pulumi'], dir, vi.fn<Progress>())).rejects.toThrow(
      'install Go (https://go.dev/dl), or set PLUMBLINE_PULUMI',
    );
  });
});
