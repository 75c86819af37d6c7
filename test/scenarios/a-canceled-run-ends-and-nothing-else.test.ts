import { once } from 'node:events';
import { afterEach, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

/** What the engine does until it is told to stop. */
async function untilInterrupted(signal: AbortSignal): Promise<never> {
  await once(signal, 'abort');
  throw transient('Interrupted', 'the engine was interrupted');
}

it('a waiting plan is canceled, and a new revision is planned as ever', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  expect((await plumbline.post('shop', `runs/${waiting.number}/cancel`)).status).toBe(202);
  await plumbline.untilCondition('shop', 'Stalled', 'Canceled');
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.untilRun('shop', ['awaiting_approval'], waiting.number);
});

it('a run is interrupted while it plans, and what the stack does next is not', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  let canceled = false;
  plumbline.engine.hooks.preview = async (signal) => {
    if (canceled) return;
    canceled = true;
    await untilInterrupted(signal);
  };
  await plumbline.push({ resources: { web: { size: 1 } } });
  const run = await plumbline.untilRun('shop', ['planning']);
  await plumbline.post('shop', `runs/${run.number}/cancel`);
  await plumbline.untilRun('shop', ['canceled']);
  await plumbline.until('a look', async () =>
    (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
  );
  const failures = (await plumbline.events('shop')).filter(
    (event) => event.type === 'ReconcileFailed' && event.reason !== 'SourceNotFound',
  );
  expect(failures).toEqual([]);
  expect(await plumbline.condition('shop', 'Stalled')).toMatchObject({ reason: 'Canceled' });
  await plumbline.post('shop', 'reconcile');
  await plumbline.untilRun('shop', ['awaiting_approval'], run.number);
});

it('a run is interrupted while it applies: what it did is found out before the next plan', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  plumbline.engine.hooks.apply = async (signal) => {
    await untilInterrupted(signal);
  };
  await plumbline.push({ resources: { web: { size: 1 } } });
  const run = await plumbline.untilRun('shop', ['applying']);
  await plumbline.post('shop', `runs/${run.number}/cancel`);
  await plumbline.untilRun('shop', ['errored']);
  plumbline.engine.hooks.apply = undefined;
  await plumbline.post('shop', 'reconcile');
  await plumbline.untilRun('shop', ['applied'], run.number);
  expect(plumbline.engine.calls.refresh).toBe(1);
  const events = await plumbline.events('shop');
  expect(events.filter((event) => event.type === 'ApplyInterrupting')).toHaveLength(1);
});
