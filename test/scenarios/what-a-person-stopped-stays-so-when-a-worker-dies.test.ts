import { afterEach, beforeEach, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import type { RunView } from '#core/domain/view.ts';
import { checkDrift } from '../../workers/drift.ts';
import { reconcile } from '../../workers/reconcile.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
let stackId: string;
const look = () => reconcile(plumbline.deps, stackId);
const auto = { approval: { mode: 'auto' } } as const;

async function newest(): Promise<RunView> {
  const run = (await plumbline.runs('shop')).find((candidate) => candidate.operation !== 'drift');
  if (run === undefined) throw new Error('no run');
  return run;
}

/** A look by a worker that is killed in the operation the hook stands in. */
async function lookAndDie(hook: 'preview' | 'apply' | 'exec', before: () => Promise<unknown> = async () => undefined) {
  const dead = async () => {
    await before();
    plumbline.engine.hooks[hook] = undefined;
    throw transient('LeaseLost', 'the worker was killed');
  };
  plumbline.engine.hooks[hook] = dead;
  await look();
}

async function cancelNewest(): Promise<void> {
  expect((await plumbline.post('shop', `runs/${(await newest()).number}/cancel`)).status).toBe(202);
}

async function exec(): Promise<void> {
  const body = { command: ['stack', 'export'], reason: 'a look' };
  expect((await plumbline.post('shop', 'exec', body)).status).toBe(202);
}

beforeEach(async () => {
  plumbline = await startTestPlumbline({ workers: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.stack('shop', auto);
  stackId = await plumbline.stackId('shop');
  await look();
  const { state } = await newest();
  if (state !== 'applied') throw new Error(`the first run is ${state}`);
});
afterEach(() => plumbline.close());

it.each(['preview', 'apply'] as const)(
  'a run that was canceled in its %s is not made again by itself',
  async (hook) => {
    await plumbline.push({ resources: { web: { size: 2 } } });
    await plumbline.post('shop', 'reconcile');
    await lookAndDie(hook, cancelNewest);
    await look();
    const run = await newest();
    expect(run.state).toBe(hook === 'preview' ? 'canceled' : 'errored');
    expect(await plumbline.condition('shop', 'Stalled')).toMatchObject({ reason: 'Canceled' });
    await look();
    expect((await newest()).number).toBe(run.number);
    expect(plumbline.engine.log).toEqual(['create web']);
  },
);

it('a destroyed stack is not made again by suspend and resume', async () => {
  await plumbline.post('shop', 'destroy');
  await look();
  await plumbline.approve('shop', await newest());
  await look();
  expect(await newest()).toMatchObject({ operation: 'destroy', state: 'applied' });
  for (const action of ['suspend', 'resume']) {
    await plumbline.post('shop', action);
    await look();
  }
  expect(await newest()).toMatchObject({ operation: 'destroy' });
  expect(plumbline.engine.log).toEqual(['create web', 'delete web']);
});

it('a destroyed stack is not made again by a command that was cut off', async () => {
  await plumbline.post('shop', 'destroy');
  await look();
  await plumbline.approve('shop', await newest());
  await look();
  await exec();
  await lookAndDie('exec');
  await look();
  expect(await newest()).toMatchObject({ operation: 'exec', state: 'errored' });
  await exec();
  await plumbline.database.db.updateTable('runs').set({ state: 'fetching' }).where('state', '=', 'pending').execute();
  await look();
  expect(await newest()).toMatchObject({ operation: 'exec', state: 'errored', reason: 'Interrupted' });
  expect(plumbline.engine.log).toEqual(['create web', 'delete web']);
});

it('a heal goes by the approval the stack has now, and one that dies says nothing about a plan that was discarded', async () => {
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.stack('shop', { approval: { mode: 'manual' } });
  await look();
  const waiting = await newest();
  expect(waiting.state).toBe('awaiting_approval');
  await plumbline.post('shop', `runs/${waiting.number}/discard`, { planDigest: waiting.planDigest });
  plumbline.engine.only().world['web'] = { size: 9 };
  await plumbline.post('shop', 'drift/check');
  await checkDrift(plumbline.deps, stackId);
  await plumbline.post('shop', 'drift/heal');
  await lookAndDie('preview');
  await look();
  const heal = await newest();
  expect(heal).toMatchObject({ trigger: 'heal', state: 'awaiting_approval' });
  const { status } = await plumbline.approve('shop', heal);
  expect(status).toBe(200);
  await look();
  expect(plumbline.engine.only().world['web']).toEqual({ size: 1 });
  expect((await newest()).number).toBe(heal.number);
});

it('a heal that plans otherwise than was approved fails, and says nothing about a plan that was discarded', async () => {
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.stack('shop', { approval: { mode: 'manual' } });
  await look();
  const waiting = await newest();
  await plumbline.post('shop', `runs/${waiting.number}/discard`, { planDigest: waiting.planDigest });
  plumbline.engine.only().world['web'] = { size: 9 };
  await plumbline.post('shop', 'drift/check');
  await checkDrift(plumbline.deps, stackId);
  await plumbline.post('shop', 'drift/heal');
  await look();
  const heal = await newest();
  expect(heal).toMatchObject({ trigger: 'heal', state: 'awaiting_approval' });
  plumbline.engine.hooks.apply = async () => {
    throw transient('PlanStale', 'violates plan');
  };
  expect((await plumbline.approve('shop', heal)).status).toBe(200);
  await look();
  await look();
  expect(await newest()).toMatchObject({ number: heal.number, state: 'errored', reason: 'NonDeterministic' });
  expect(await plumbline.condition('shop', 'Stalled')).toMatchObject({ reason: 'PlanDiscarded' });
  expect(plumbline.engine.only().world['web']).toEqual({ size: 9 });
});

it('a wish to let resources go that cannot be carried out is refused, and the stack goes on', async () => {
  const { state, world } = plumbline.engine.only();
  delete world['web'];
  await plumbline.post('shop', 'drift/check');
  await checkDrift(plumbline.deps, stackId);
  const [item] = await plumbline.drift('shop');
  expect(item).toMatchObject({ kind: 'missing' });
  expect((await plumbline.post('shop', 'drift/accept', { urn: item?.urn })).status).toBe(202);
  const { engine } = plumbline.deps;
  plumbline.deps.engine = {
    ...engine,
    refresh: async () => {
      // Another wish that comes in meanwhile is not taken back with this one.
      await plumbline.database.db
        .updateTable('stacks')
        .set({ accept_missing: JSON.stringify({ urns: [item?.urn, 'another'], by: 'ann' }) })
        .execute();
      plumbline.deps.engine = engine;
      throw transient('RefreshFailed', 'the provider does not know the resource');
    },
  };
  await look();
  const said = (await plumbline.events('shop')).filter(({ type }) => /^(?:AcceptRefused|MissingLeftState)$/.test(type));
  expect(said.toReversed().map(({ reason, data }) => ({ reason, data }))).toMatchObject([
    { reason: 'RefreshFailed' },
    { reason: null, data: { urns: ['another'] } },
  ]);
  expect(state).toHaveProperty('web');
});
