import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkInstalled } from './installed-dependencies.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'plumb-installed-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

type Packages = Record<string, Record<string, unknown>>;
const pg = { version: '8.0.0', integrity: 'sha512-a' };
const vitest = { version: '5.0.0', integrity: 'sha512-v', dev: true };
const esbuild = { version: '1.0.0', integrity: 'sha512-e', optional: true, os: ['linux'], cpu: ['x64'] };
const at = (packages: Packages) =>
  Object.fromEntries(Object.entries(packages).map(([name, entry]) => [`node_modules/${name}`, entry]));

/** A program whose lock file names `locked`, with `installed` in node_modules, as npm leaves it. */
async function program(locked: Packages, installed: Packages): Promise<void> {
  await writeFile(join(dir, 'package-lock.json'), JSON.stringify({ packages: { '': {}, ...at(locked) } }));
  await mkdir(join(dir, 'node_modules'));
  await writeFile(join(dir, 'node_modules/.package-lock.json'), JSON.stringify({ packages: at(installed) }));
  for (const [name, { version }] of Object.entries(installed)) {
    await mkdir(join(dir, 'node_modules', name), { recursive: true });
    await writeFile(join(dir, 'node_modules', name, 'package.json'), JSON.stringify({ version }));
  }
}

describe('checkInstalled', () => {
  it.each<[string, Packages, Packages, object]>([
    ['all of it', { pg, vitest }, { pg, vitest }, { packages: 2, isPlatformBound: false }],
    ['without development', { pg, vitest }, { pg }, { packages: 1, isPlatformBound: false }],
    ['for another system', { pg, esbuild }, { pg }, { packages: 1, isPlatformBound: false }],
    ['for this system', { pg, esbuild }, { pg, esbuild }, { packages: 2, isPlatformBound: true }],
  ])('takes what npm installed from the lock file: %s', async (_, locked, installed, expected) => {
    await program(locked, installed);
    expect(await checkInstalled(dir)).toMatchObject({ dir: join(dir, 'node_modules'), ...expected });
  });

  it.each<[string, Packages, Packages, string]>([
    ['another version', { pg }, { pg: { ...pg, version: '7.0.0' } }, 'not those of its lock file: pg'],
    ['another content', { pg }, { pg: { ...pg, integrity: 'sha512-b' } }, 'not those of its lock file: pg'],
    ['a package too many', {}, { pg }, 'not those of its lock file: pg'],
    ['a package too few', { pg, '@a/b': pg }, { pg }, 'lacks packages of its lock file: @a/b'],
    ['a local package', { pg: { resolved: '../pg', link: true } }, {}, 'links to local packages (pg)'],
  ])('refuses %s', async (_, locked, installed, message) => {
    await program(locked, installed);
    const failed = checkInstalled(dir);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'DependenciesFailed' });
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toThrow('npm ci');
  });

  it('refuses a package that is not there, or not the one npm says', async () => {
    await program({ pg }, { pg });
    await writeFile(join(dir, 'node_modules/pg/package.json'), '{"version": "9.9.9"}');
    await expect(checkInstalled(dir)).rejects.toThrow('lacks packages of its lock file: pg');
    await rm(join(dir, 'node_modules/pg'), { recursive: true });
    await expect(checkInstalled(dir)).rejects.toThrow('lacks packages of its lock file: pg');
  });

  it.each([
    ['node_modules', 'has no node_modules folder'],
    ['package-lock.json', 'has no package-lock.json'],
    ['node_modules/.package-lock.json', 'npm did not install'],
  ])('refuses a program without %s', async (path, message) => {
    await program({ pg }, { pg });
    await rm(join(dir, path), { recursive: true });
    await expect(checkInstalled(dir)).rejects.toThrow(message);
  });
});
