import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { requiredPackages } from './packages.ts';
import { programEnvironment } from './private-variables.ts';
import { resolveSdk } from './sdk.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'host-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

async function installed(path: string, manifest: object) {
  const folder = join(dir, 'node_modules', path);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
}

it('gives a program the credentials of its run and nothing that is private to the engine or to us', () => {
  const engine = {
    PULUMI_CONFIG_PASSPHRASE: 'p',
    PULUMI_BACKEND_URL: 'u',
    PLUMBLINE_GATE: 'g',
    PGUSER: 'plan',
    PULUMI_HOME: 'h',
    UNSET: undefined,
  };
  expect(programEnvironment(engine)).toEqual({ PGUSER: 'plan', PULUMI_HOME: 'h' });
});

it('finds the provider plugins that packages declare, nested and scoped ones too', async () => {
  await installed('@pulumi/aws', { name: '@pulumi/aws', version: '6.1.0', pulumi: { resource: true, name: 'aws' } });
  await installed('@pulumi/pulumi', { name: '@pulumi/pulumi', version: '3.0.0' });
  await installed('wrapper', { name: 'wrapper', version: '1.0.0' });
  await installed('wrapper/node_modules/@acme/cloud', {
    name: '@acme/cloud',
    version: '2.0.0',
    pulumi: { resource: true, version: 'v2.1.0', server: 'https://plugins.example.com' },
  });
  await installed('broken', {});
  expect(requiredPackages(dir)).toEqual([
    { name: 'aws', version: 'v6.1.0', server: '' },
    { name: 'cloud', version: 'v2.1.0', server: 'https://plugins.example.com' },
  ]);
});

it('needs no plugin where nothing is installed', () => {
  expect(requiredPackages(join(dir, 'nowhere'))).toEqual([]);
});

it('finds the SDK of the program and no other, and says what to do when it has none', async () => {
  expect(() => resolveSdk(dir, 'cmd/run')).toThrow('Add it to the dependencies');
  await installed('@pulumi/pulumi', { name: '@pulumi/pulumi', version: '3.0.0' });
  await mkdir(join(dir, 'node_modules/@pulumi/pulumi/cmd/run'), { recursive: true });
  await writeFile(join(dir, 'node_modules/@pulumi/pulumi/cmd/run/index.js'), '');
  expect(resolveSdk(dir, 'cmd/run')).toBe(join(dir, 'node_modules/@pulumi/pulumi/cmd/run/index.js'));
});
