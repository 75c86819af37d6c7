import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layLaunchers } from './launchers.ts';

const run = promisify(execFile);

describe('launchers', () => {
  let dir = '';
  let hostDir = '';
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plumbline-launchers-'));
    hostDir = join(dir, "it's a host $HOME");
    await mkdir(hostDir);
    await writeFile(
      join(hostDir, 'main.ts'),
      'console.log(JSON.stringify([process.argv.slice(2), process.env.GIVEN]));',
    );
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  it('hands arguments and environment to the host, whatever its path holds', async () => {
    await layLaunchers(dir, { node: process.execPath, hostDir });
    const { stdout } = await run(join(dir, 'pulumi-language-nodejs'), ['a b', '$c'], { env: { GIVEN: 'x' } });
    expect(JSON.parse(stdout)).toEqual([['a b', '$c'], 'x']);
  });

  it('keep from the dynamic provider what is private to the engine, in every place it could be read', async () => {
    const script = `const { readFileSync, existsSync } = require('node:fs');
      const own = '/proc/self/environ';
      console.log(existsSync(own) ? readFileSync(own, 'utf8') : JSON.stringify(process.env));`;
    await writeFile(join(hostDir, 'dynamic-provider.ts'), script);
    await layLaunchers(dir, { node: process.execPath, hostDir });
    const { stdout } = await run(join(dir, 'pulumi-resource-pulumi-nodejs'), [], {
      env: {
        GIVEN: 'given',
        PULUMI_CONFIG_PASSPHRASE: 'canary',
        PULUMI_BACKEND_URL: 'canary',
        PULUMI_ACCESS_TOKEN: 'canary',
      },
    });
    expect(stdout).toContain('given');
    expect(stdout).not.toContain('canary');
  });

  it('is left alone when it is right, and replaced when Node.js has moved', async () => {
    const file = join(dir, 'pulumi-resource-pulumi-nodejs');
    await layLaunchers(dir, { node: process.execPath, hostDir });
    const before = await stat(file);
    await layLaunchers(dir, { node: process.execPath, hostDir });
    expect((await stat(file)).ino).toBe(before.ino);
    const moved = join(dir, 'node');
    await symlink(process.execPath, moved);
    await layLaunchers(dir, { node: moved, hostDir });
    const after = await stat(file);
    expect(after.ino).not.toBe(before.ino);
    expect(after.mode & 0o111).toBe(0o111);
  });

  it('stands before every host that is not ours, also one that lay beside the engine, and moves it out of sight once', async () => {
    const engineDir = join(dir, 'engine');
    await mkdir(join(engineDir, 'hosts'), { recursive: true });
    await writeFile(join(hostDir, 'forward-main.ts'), 'console.log(JSON.stringify(process.argv.slice(2)));');
    await writeFile(join(engineDir, 'pulumi-language-yaml'), 'yaml', { mode: 0o755 });
    await writeFile(join(engineDir, 'hosts/pulumi-language-go'), 'go', { mode: 0o755 });
    await writeFile(join(engineDir, 'hosts/pulumi-language-python-exec'), 'part', { mode: 0o755 });
    for (let time = 0; time < 2; time += 1) {
      await Promise.all([1, 2].map(() => layLaunchers(engineDir, { node: process.execPath, hostDir })));
      for (const [name, content] of [
        ['pulumi-language-yaml', 'yaml'],
        ['pulumi-language-go', 'go'],
      ] as const) {
        const { stdout } = await run(join(engineDir, name), ['127.0.0.1:1']);
        const real = join(engineDir, 'hosts', name);
        expect(JSON.parse(stdout)).toEqual([real, '127.0.0.1:1']);
        expect(await readFile(real, 'utf8')).toBe(content);
      }
    }
    await expect(access(join(engineDir, 'pulumi-language-python-exec'))).rejects.toThrow('ENOENT');
    expect((await readdir(join(engineDir, 'hosts'))).sort()).toEqual([
      'pulumi-language-go',
      'pulumi-language-python-exec',
      'pulumi-language-yaml',
    ]);
  });
});
