import { afterEach, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';
import { reconcile } from '../../workers/reconcile.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

/** Makes the lease look as a worker that died leaves it. */
async function diedHolding(lane: 'run' | 'drift', runPidns: string | null, endsInMs = -1000): Promise<void> {
  const stackId = await plumbline.stackId('shop');
  const lease = {
    worker_id: 'dead-worker',
    boot_id: 'other-boot',
    worker_pidns: 'other',
    run_pidns: runPidns,
    expires_at: new Date(Date.now() + endsInMs),
  };
  await plumbline.database.db
    .insertInto('leases')
    .values({ stack_id: stackId, lane, tenant: plumbline.tenant, fence: 1, acquired_at: new Date(), ...lease })
    .onConflict((conflict) => conflict.columns(['stack_id', 'lane']).doUpdateSet(lease))
    .execute();
}

async function waiting() {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 }, db: { size: 1 } } });
  return await plumbline.untilRun('shop', ['awaiting_approval']);
}

it('two workers that look at the same stack at once make one run', async () => {
  plumbline = await startTestPlumbline({ workers: false, webhook: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  const stackId = await plumbline.stackId('shop');
  const workers = [plumbline.deps, plumbline.secondWorker(), plumbline.secondWorker()];
  await Promise.all(workers.map((worker) => reconcile(worker, stackId)));
  expect(await plumbline.runs('shop')).toMatchObject([{ number: 1, state: 'applied' }]);
  expect(plumbline.engine.calls).toMatchObject({ preview: 1, apply: 1 });
});

it('a worker that is told to stop in the middle of a plan or an apply leaves it to the next, which finds out first', async () => {
  plumbline = await startTestPlumbline({ workers: false, webhook: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  const stackId = await plumbline.stackId('shop');
  for (const phase of ['preview', 'apply'] as const) {
    const stop = new AbortController();
    plumbline.engine.hooks[phase] = async (signal) => {
      stop.abort(new Error('the worker stops'));
      if (signal.aborted) throw transient('Interrupted', 'the engine was interrupted');
    };
    await reconcile(plumbline.secondWorker({ shutdown: stop.signal }), stackId);
    plumbline.engine.hooks[phase] = undefined;
  }
  await plumbline.until('the end', async () => {
    await reconcile(plumbline.deps, stackId);
    return (await plumbline.view('shop')).status.applied ?? undefined;
  });
  expect((await plumbline.runs('shop')).map((run) => `${run.state} ${run.reason}`)).toEqual([
    'applied null',
    'errored Interrupted',
    'errored Interrupted',
  ]);
  expect(plumbline.engine.calls.refresh).toBe(1);
  expect(plumbline.engine.log).toEqual(['create web']);
});

it('a worker that died without a process of a run is taken over when its lease ends, not before', async () => {
  const run = await waiting();
  await diedHolding('run', null, 3000);
  await plumbline.approve('shop', run);
  await plumbline.sweep();
  expect((await plumbline.run('shop', run.number)).run.state).toBe('approved');
  await plumbline.untilRun('shop', ['applied']);
});

it('one that may have left a process alive is a question, which unlock answers', async () => {
  const run = await waiting();
  await diedHolding('run', '4026532999');
  await plumbline.approve('shop', run);
  const { message } = await plumbline.untilCondition('shop', 'Stalled', 'HolderUnknown');
  expect(message).toContain('dead-worker');
  expect(plumbline.engine.calls.apply).toBe(0);
  expect((await plumbline.events('shop')).filter((event) => event.type === 'HolderUnknown')).toHaveLength(1);
  expect((await plumbline.post('shop', 'unlock', { confirmDead: true })).status).toBe(202);
  await plumbline.untilRun('shop', ['applied']);
  expect(await plumbline.condition('shop', 'Stalled')).toBeUndefined();
});

it('one that died in a drift check is a question as well', async () => {
  await waiting();
  await plumbline.applied('shop');
  await plumbline.untilCondition('shop', 'Drifted', 'NotDrifted');
  await diedHolding('drift', '4026532999');
  expect((await plumbline.untilCondition('shop', 'Drifted', 'HolderUnknown')).message).toContain('dead-worker');
  await plumbline.post('shop', 'unlock', { confirmDead: true });
  await plumbline.post('shop', 'drift/check');
  await plumbline.untilCondition('shop', 'Drifted', 'NotDrifted');
});

async function diedApplying() {
  const run = await waiting();
  // Held until the test is ready, so that no worker of the test looks too early.
  await diedHolding('run', null, 60_000);
  await plumbline.database.db.updateTable('runs').set({ state: 'applying' }).where('number', '=', run.number).execute();
  return run;
}

it('an apply that was cut off is never repeated blindly: its state is refreshed and planned again', async () => {
  const run = await diedApplying();
  await diedHolding('run', null);
  const next = await plumbline.untilRun('shop', ['awaiting_approval'], run.number);
  expect((await plumbline.run('shop', run.number)).run).toMatchObject({ state: 'errored', reason: 'Interrupted' });
  expect(plumbline.engine.calls).toMatchObject({ apply: 0, refresh: 1 });
  await plumbline.approve('shop', next);
  await plumbline.untilRun('shop', ['applied'], run.number);
});

it('what it may have created unrecorded is a question, and each answer is carried out', async () => {
  const run = await diedApplying();
  const { plan } = await plumbline.run('shop', run.number);
  const operations = (plan?.changes ?? []).map(({ urn, type }) => ({ urn, type, operation: 'creating' }));
  const identity = plumbline.identityOf(plan);
  plumbline.engine.state.set(identity, {});
  plumbline.engine.world.set(identity, { web: { size: 1 } });
  plumbline.engine.pending.set(identity, operations);
  await diedHolding('run', null);
  await plumbline.untilCondition('shop', 'Stalled', 'PendingOperations');
  const urnOf = (name: string) => operations.find(({ urn }) => urn.endsWith(`::${name}`))?.urn;
  await plumbline.post('shop', 'reconcile');
  await plumbline.post('shop', 'pending', { urn: urnOf('web'), answer: 'import', id: 'web-1' });
  await plumbline.until('a look', async () =>
    (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
  );
  expect(await plumbline.runs('shop')).toHaveLength(1);
  expect((await plumbline.post('shop', 'pending', { urn: 'urn:of:nobody', answer: 'clear' })).status).toBe(409);
  await plumbline.post('shop', 'pending', { urn: urnOf('db'), answer: 'clear' });
  const next = await plumbline.untilRun('shop', ['awaiting_approval'], run.number);
  expect(next.summary).toMatchObject({ create: 1, same: 1 });
  await plumbline.applied('shop');
  expect(plumbline.engine.log).toEqual(['create db']);
});
