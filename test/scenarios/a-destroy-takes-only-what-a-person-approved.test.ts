import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RunView } from '#core/domain/view.ts';
import { checkDrift } from '../../workers/drift.ts';
import { reconcile } from '../../workers/reconcile.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
let stackId: string;
const look = () => reconcile(plumbline.deps, stackId);

async function newest(): Promise<RunView> {
  const [run] = await plumbline.runs('shop');
  if (run === undefined) throw new Error('no run');
  return run;
}

async function approveAndLook(): Promise<RunView> {
  expect((await plumbline.approve('shop', await newest())).status).toBe(200);
  await look();
  return await newest();
}

const destroyLog = () => plumbline.engine.log.filter((line) => line.startsWith('delete'));

beforeEach(async () => {
  plumbline = await startTestPlumbline({ workers: false });
  await plumbline.push({ resources: { web: { size: 1 }, db: { size: 1 } } });
  // In the mode that approves by itself whatever it may.
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  stackId = await plumbline.stackId('shop');
  await look();
  const { state } = await newest();
  if (state !== 'applied') throw new Error(`the first run is ${state}`);
});
afterEach(() => plumbline.close());

async function planned(): Promise<RunView> {
  expect((await plumbline.post('shop', 'destroy')).status).toBe(202);
  await look();
  return await newest();
}

it('names what goes, waits for a person in every mode, takes exactly that, and the stack rests', async () => {
  const waiting = await planned();
  expect(waiting).toMatchObject({ operation: 'destroy', state: 'awaiting_approval', summary: { delete: 2 } });
  expect(new Set(waiting.targets.map((urn) => urn.split('::').at(-1)))).toEqual(new Set(['db', 'web']));
  expect(waiting.needs[0]).toContain('approved by a person in every mode');
  expect(waiting.requestedBy).not.toBe('plumbline');
  const { plan } = await plumbline.run('shop', waiting.number);
  expect(plan?.bound).toMatchObject({ operation: 'destroy', targets: waiting.targets });
  expect(destroyLog()).toEqual([]);
  expect((await plumbline.post('shop', 'destroy')).status).toBe(409);

  expect(await approveAndLook()).toMatchObject({ operation: 'destroy', state: 'applied' });
  expect(destroyLog().toSorted()).toEqual(['delete db', 'delete web']);
  expect(await plumbline.condition('shop', 'Ready')).toMatchObject({ status: 'True', reason: 'Destroyed' });
  expect((await plumbline.view('shop')).status.applied).toBeNull();

  // Neither time nor a newer revision makes it again; a person does.
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.database.db
    .updateTable('stacks')
    .set({ source_due_at: new Date(0) })
    .execute();
  await look();
  expect((await newest()).number).toBe(waiting.number);
  await plumbline.post('shop', 'reconcile');
  await look();
  expect(await newest()).toMatchObject({ operation: 'update', state: 'applied' });
  expect(plumbline.engine.only().world).toEqual({ web: { size: 2 } });
});

it('a new spec makes a destroyed stack again', async () => {
  await planned();
  await approveAndLook();
  await plumbline.stack('shop', { approval: { mode: 'auto' }, timeouts: { plan: '5m' } });
  await look();
  expect(await newest()).toMatchObject({ operation: 'update', state: 'applied' });
});

it.each(['between plan and approval', 'between approval and destroy', 'before the lock of the engine'])(
  'a state that moves %s is not destroyed: the plan is made again and named what differs',
  async (when) => {
    const waiting = await planned();
    const move = () => void (plumbline.engine.only().state['web'] = { size: 9 });
    if (when === 'between plan and approval') move();
    if (when === 'before the lock of the engine') {
      plumbline.engine.hooks.gate = async () => {
        plumbline.engine.hooks.gate = undefined;
        move();
      };
    }
    expect((await plumbline.approve('shop', waiting)).status).toBe(200);
    if (when === 'between approval and destroy') move();
    await look();
    expect((await plumbline.run('shop', waiting.number)).run).toMatchObject({ state: 'stale', reason: 'PlanStale' });
    expect((await plumbline.run('shop', waiting.number)).run.message).toContain('checkpoint was');
    expect(destroyLog()).toEqual([]);
    expect(await newest()).toMatchObject({ operation: 'destroy', state: 'awaiting_approval' });
  },
);

it('a protected resource is named when the destroy is planned, and nothing goes', async () => {
  plumbline.engine.protected.add('db');
  expect(await planned()).toMatchObject({ operation: 'destroy', state: 'errored', reason: 'ResourceProtected' });
  expect((await newest()).message).toContain('db');
  await look();
  // It is a person who asks again, and nothing else is begun.
  expect((await plumbline.runs('shop')).filter((run) => run.operation === 'destroy')).toHaveLength(1);
  expect(destroyLog()).toEqual([]);
});

it('a destroy that is discarded leaves the stack as it was, up to date', async () => {
  const waiting = await planned();
  const base = `/v1/tenants/${plumbline.tenant}/stacks/shop/runs/${waiting.number}`;
  expect((await plumbline.api('POST', `${base}/discard`, { planDigest: waiting.planDigest })).status).toBe(200);
  await look();
  expect(destroyLog()).toEqual([]);
  expect(await plumbline.condition('shop', 'Ready')).toMatchObject({ status: 'True', reason: 'UpToDate' });
});

it('a plan that waits makes way for a destroy', async () => {
  await plumbline.stack('shop', { approval: { mode: 'manual' } });
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.post('shop', 'reconcile');
  await look();
  const update = await newest();
  expect(update.state).toBe('awaiting_approval');
  expect(await planned()).toMatchObject({ operation: 'destroy', state: 'awaiting_approval' });
  expect((await plumbline.run('shop', update.number)).run).toMatchObject({ state: 'superseded' });
});

it('a worker that dies in the middle of a destroy: what is left is planned again, for a person', async () => {
  const waiting = await planned();
  plumbline.engine.hooks.apply = async () => {
    if (destroyLog().length === 0) return;
    // As a killed worker leaves it: the run goes on as `applying` and nothing is recorded.
    await plumbline.database.db.updateTable('leases').set({ fence: 999 }).execute();
    throw new Error('killed');
  };
  expect((await plumbline.approve('shop', waiting)).status).toBe(200);
  await look().catch(() => undefined);
  expect(destroyLog()).toHaveLength(1);
  expect((await plumbline.run('shop', waiting.number)).run.state).toBe('applying');
  plumbline.engine.hooks = {};
  await plumbline.database.db.updateTable('leases').set({ worker_id: '', fence: 1000 }).execute();
  await look();
  expect((await plumbline.run('shop', waiting.number)).run).toMatchObject({ state: 'errored', reason: 'Interrupted' });
  const again = await newest();
  expect(again).toMatchObject({ operation: 'destroy', state: 'awaiting_approval', summary: { delete: 1 } });
  expect(plumbline.engine.calls.refresh).toBe(1);
  expect(await approveAndLook()).toMatchObject({ operation: 'destroy', state: 'applied' });
  expect(plumbline.engine.only().world).toEqual({});
});

it('a stack that is suspended while it is destroyed rests after it is resumed', async () => {
  const waiting = await planned();
  plumbline.engine.hooks.apply = async () => {
    if (destroyLog().length === 1) await plumbline.post('shop', 'suspend');
  };
  expect((await plumbline.approve('shop', waiting)).status).toBe(200);
  await look();
  expect(await newest()).toMatchObject({ operation: 'destroy', state: 'applied' });
  await plumbline.post('shop', 'resume');
  await look();
  expect(await newest()).toMatchObject({ number: waiting.number, state: 'applied' });
  expect(plumbline.engine.only().world).toEqual({});
});

it('a destroy that fails midway is not turned into an update', async () => {
  await planned();
  plumbline.engine.hooks.apply = async () => {
    if (destroyLog().length > 0) throw new Error('the provider refused');
  };
  expect(await approveAndLook()).toMatchObject({ operation: 'destroy', state: 'errored' });
  await look();
  expect(destroyLog()).toHaveLength(1);
  expect((await newest()).operation).toBe('destroy');
  plumbline.engine.hooks = {};
  expect(await planned()).toMatchObject({ state: 'awaiting_approval', summary: { delete: 1 } });
});

it.each(['a part', 'all'])(
  'what a person changes in the state after a destroy took %s of it makes nothing again, and the stack says so',
  async (taken) => {
    await planned();
    if (taken === 'a part')
      plumbline.engine.hooks.apply = async () => {
        if (destroyLog().length > 0) throw new Error('the provider refused');
      };
    await approveAndLook();
    plumbline.engine.hooks = {};
    const gone = destroyLog().length;
    const rests =
      taken === 'a part'
        ? {
            status: 'False',
            reason: 'ApplyFailed',
            message: expect.stringContaining('`plumb destroy shop` plans the rest'),
          }
        : { status: 'True', reason: 'Destroyed', message: expect.stringContaining('it rests until') };

    const body = { command: ['refresh'], reason: 'what is left?' };
    expect((await plumbline.post('shop', 'exec', body)).status).toBe(202);
    await look();
    expect(await newest()).toMatchObject({ operation: 'exec', state: 'applied' });
    expect(await plumbline.condition('shop', 'Ready')).toMatchObject(rests);

    await plumbline.database.db
      .updateTable('stacks')
      .set({ source_due_at: new Date(0) })
      .execute();
    await look();
    expect((await newest()).operation).toBe('exec');
    expect(await plumbline.condition('shop', 'Ready')).toMatchObject(rests);
    expect(destroyLog()).toHaveLength(gone);
    expect(plumbline.engine.calls.apply).toBe(1);
  },
);

it('a missing resource that leaves the state of a stack that is half destroyed is not made again', async () => {
  await planned();
  plumbline.engine.hooks.apply = async () => {
    if (destroyLog().length > 0) throw new Error('the provider refused');
  };
  await approveAndLook();
  plumbline.engine.hooks = {};
  const { state, world } = plumbline.engine.only();
  const [left] = Object.keys(state);
  delete world[left ?? ''];
  await plumbline.post('shop', 'drift/check');
  await checkDrift(plumbline.deps, stackId);
  const missing = (await plumbline.drift('shop')).find(({ kind }) => kind === 'missing');
  expect(missing?.urn).toContain(`::${left}`);
  expect((await plumbline.post('shop', 'drift/accept', { urn: missing?.urn })).status).toBe(202);
  await look();
  expect((await plumbline.events('shop')).map(({ type }) => type)).toContain('MissingLeftState');
  expect(state).toEqual({});
  expect(world).toEqual({});
  expect(plumbline.engine.calls.apply).toBe(1);
  expect(await plumbline.condition('shop', 'Ready')).toMatchObject({ status: 'False', reason: 'ApplyFailed' });
});

it('a token that only reads destroys nothing', async () => {
  const viewer = await plumbline.person('looker', 'viewer');
  const path = `/v1/tenants/${plumbline.tenant}/stacks/shop/destroy`;
  expect((await plumbline.api('POST', path, undefined, viewer)).status).toBe(403);
});
