import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { RunView } from '#core/domain/view.ts';
import { open } from '#core/secrets.ts';
import { reconcile } from '../../workers/reconcile.ts';
import type { TestPlumbline } from '../harness/plumbline.ts';
import { startOnRealEngine } from './whole-path.ts';

const run = promisify(execFile);

/** Makes one resource of the engine's own, so that no provider has to be started. */
const PROGRAM = {
  'Pulumi.yaml': 'name: shop\nruntime: {name: nodejs, options: {typescript: false}}\n',
  'package.json': JSON.stringify({ type: 'module', main: 'index.js', dependencies: { '@pulumi/pulumi': '3.270.0' } }),
  'index.js': `import * as pulumi from '@pulumi/pulumi';
const config = new pulumi.Config();
const input = config.get('behaviour') === 'random' ? String(Math.random()) : config.require('text');
new pulumi.Stash('kept', { input });
`,
};

let plumbline: TestPlumbline;
let dir: string;
let stackId: string;
const look = () => reconcile(plumbline.deps, stackId);

async function newest(): Promise<RunView> {
  const [found] = await plumbline.runs('shop');
  if (found === undefined) throw new Error('no run');
  return found;
}

const wanted = (config: Record<string, string>): Partial<StackSpec> => ({ pulumi: { stack: 'prod', config } });

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'behind-our-back-'));
  plumbline = await startOnRealEngine({ workers: false, config: { PLUMBLINE_LEASE_SECONDS: '60' } });
  await plumbline.push(PROGRAM);
  await plumbline.stack('shop', wanted({ text: 'one' }));
  stackId = await plumbline.stackId('shop');
  await look();
  await approve(await newest());
  await look();
  const { state } = await newest();
  if (state !== 'applied') throw new Error(`the first run is ${state}`);
  await plumbline.stack('shop', wanted({ text: 'two' }));
  await look();
});
afterAll(async () => {
  await plumbline.close();
  await rm(dir, { recursive: true, force: true });
});

async function approve(waiting: RunView): Promise<RunView> {
  expect(waiting.state).toBe('awaiting_approval');
  expect((await plumbline.approve('shop', waiting)).status).toBe(200);
  return waiting;
}

interface Exported {
  deployment: { resources: { type: string; outputs?: Record<string, unknown> }[] };
}

let moves = 0;

/** What anybody can do who has the backend and the passphrase: the real CLI, and no word to us. */
async function moveTheState(): Promise<void> {
  const stack = await plumbline.database.db
    .selectFrom('stacks')
    .selectAll()
    .where('id', '=', stackId)
    .executeTakeFirstOrThrow();
  if (stack.passphrase === null || stack.identity === null) throw new Error('nothing is applied');
  const passphrase = open(plumbline.deps.masterKey, stack.passphrase, `passphrase/${stack.tenant}/${stack.id}`);
  await writeFile(join(dir, 'Pulumi.yaml'), PROGRAM['Pulumi.yaml']);
  const env = {
    PULUMI_BACKEND_URL: stack.identity.backend,
    PULUMI_CONFIG_PASSPHRASE: passphrase.toString('utf8'),
    PULUMI_HOME: join(dir, 'home'),
    PATH: '',
  };
  const cli = (...args: string[]) =>
    run(inject('pulumi'), ['stack', ...args, '--stack', 'prod', '--non-interactive'], { env, cwd: dir });
  const state: Exported = JSON.parse((await cli('export')).stdout);
  for (const { type, outputs } of state.deployment.resources)
    if (type === 'pulumi:index:Stash' && outputs !== undefined) outputs['output'] = `moved-${(moves += 1)}`;
  await writeFile(join(dir, 'state.json'), JSON.stringify(state));
  await cli('import', '--file', join(dir, 'state.json'));
}

/** What the state holds now, without a word about how. */
async function value(): Promise<string> {
  const { plan } = await plumbline.run('shop', (await newest()).number);
  const [change] = plan?.changes ?? [];
  return JSON.stringify(change?.diffs ?? []);
}

async function expectStale(refused: RunView, named: string): Promise<void> {
  const { run: after } = await plumbline.run('shop', refused.number);
  expect(after).toMatchObject({ state: 'stale', message: expect.stringContaining(named) });
  // Nothing was changed: there is as much to do as before.
  expect(await newest()).toMatchObject({ state: 'awaiting_approval', summary: { update: 1 } });
}

it('the state moved by the real CLI between plan and approval is not applied over', async () => {
  const waiting = await newest();
  await moveTheState();
  await approve(waiting);
  await look();
  await expectStale(waiting, 'checkpoint was sha256:');
  expect((await newest()).needs.join()).toContain('changed by something other than Plumbline');
});

it('the state moved by the real CLI between approval and apply is not applied over', async () => {
  const waiting = await approve(await newest());
  await moveTheState();
  await look();
  await expectStale(waiting, 'checkpoint was sha256:');
});

it('the state moved by the real CLI between our check and the lock of the engine is not applied over', async () => {
  const waiting = await approve(await newest());
  const { engine } = plumbline.deps;
  plumbline.deps.engine = {
    ...engine,
    apply: async (request) => {
      await moveTheState();
      return await engine.apply(request);
    },
  };
  await look();
  plumbline.deps.engine = engine;
  await expectStale(waiting, 'checkpoint was sha256:');
  expect(await value()).toContain('two');
});

it('other dependencies than approved are not run', async () => {
  const waiting = await approve(await newest());
  const { dependencies } = plumbline.deps;
  plumbline.deps.dependencies = async (request) => ({ ...(await dependencies(request)), digest: 'sha256:other' });
  await look();
  await expectStale(waiting, 'dependencies was checkout when approved and is now sha256:other');
});

it('what waits in the end is applied', async () => {
  await approve(await newest());
  await look();
  expect(await newest()).toMatchObject({ state: 'applied', summary: { update: 1 } });
});

it('a program that plans otherwise each time is stopped before a change, twice, and then said to be so', async () => {
  await plumbline.stack('shop', wanted({ text: 'two', behaviour: 'random' }));
  await look();
  const first = await approve(await newest());
  await look();
  expect((await plumbline.run('shop', first.number)).run).toMatchObject({ state: 'stale', reason: 'NonDeterministic' });
  const second = await approve(await newest());
  await look();
  expect((await plumbline.run('shop', second.number)).run).toMatchObject({
    state: 'errored',
    reason: 'NonDeterministic',
  });
  expect(await plumbline.condition('shop', 'Stalled')).toMatchObject({ reason: 'NonDeterministic' });
});

it('a destroy takes what a person approved, though the program could not be planned', async () => {
  expect((await plumbline.post('shop', 'destroy')).status).toBe(202);
  await look();
  const waiting = await newest();
  expect(waiting).toMatchObject({ operation: 'destroy', summary: { delete: 2 } });
  await approve(waiting);
  await look();
  expect(await newest()).toMatchObject({ number: waiting.number, state: 'applied' });
  expect(await plumbline.condition('shop', 'Ready')).toMatchObject({ reason: 'Destroyed' });
});
