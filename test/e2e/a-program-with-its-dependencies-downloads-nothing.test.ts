import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { createDependencies } from '../../workers/dependencies.ts';
import type { TestPlumbline } from '../harness/plumbline.ts';
import { startOnRealEngine } from './whole-path.ts';

const run = promisify(execFile);
const CHECKOUT = join(import.meta.dirname, '..', '..');
const PROGRAM = `import * as pulumi from '@pulumi/pulumi';
import pg from 'pg';

export const said = new pulumi.Stash('said', { input: typeof pg.Client }).output;
`;

let plumbline: TestPlumbline;
let dir: string;
let program: string;

/** What `plumb push` prints, as a person calls it. */
async function push(tag: string, ...flags: string[]) {
  const target = `oci://${plumbline.registryHost}/infra/${tag}:prod`;
  const args = [join(CHECKOUT, 'cli', 'plumb.ts'), '-o', 'json', 'push', program, target, '--plain-http', ...flags];
  const { stdout } = await run(process.execPath, args, { env: { PATH: process.env['PATH'] } });
  return JSON.parse(stdout) as { digest: string; layers: { mediaType: string; digest: string }[] };
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plumbline-airgap-'));
  program = join(dir, 'program');
  for (const name of ['package.json', 'package-lock.json'])
    await cp(join(CHECKOUT, 'stacks/postgres', name), join(program, name));
  await writeFile(
    join(program, 'Pulumi.yaml'),
    'name: airgap\nruntime: {name: nodejs, options: {typescript: false}}\nmain: index.ts\n',
  );
  await writeFile(join(program, 'index.ts'), PROGRAM);
  await run('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: program });
  const npmrc = join(dir, 'npmrc');
  await writeFile(npmrc, 'registry=http://127.0.0.1:1/\nfetch-retries=0\n');
  plumbline = await startOnRealEngine();
  const config = { ...plumbline.deps.config, PLUMBLINE_NPM_USERCONFIG: npmrc };
  plumbline.deps.dependencies = createDependencies(config, inject('pulumi'), { PATH: process.env['PATH'] });
});
afterAll(async () => {
  await plumbline?.close();
  await rm(dir, { recursive: true, force: true });
});

it('an artifact with its dependencies is planned and applied though no package registry answers, and is always the same', async () => {
  const pushed = await push('airgap', '--with-dependencies');
  expect((await push('again', '--with-dependencies')).digest).toBe(pushed.digest);
  const layer = pushed.layers.find(({ mediaType }) => mediaType.includes('dependencies'));
  await plumbline.stack('airgap', { approval: { mode: 'manual' } });
  const planned = await plumbline.untilRun('airgap', ['awaiting_approval']);
  const { plan } = await plumbline.run('airgap', planned.number);
  // What a person approves is bound to the very layer.
  expect(plan?.bound['dependencies']).toBe(layer?.digest);
  await plumbline.approve('airgap', planned);
  await plumbline.untilRun('airgap', ['applied']);
});

it('without them the run stalls and says that npm could not reach the registry', async () => {
  await push('bare');
  await plumbline.stack('bare');
  const failed = await plumbline.untilRun('bare', ['errored']);
  expect(failed.message).toContain('npm ci failed');
});
