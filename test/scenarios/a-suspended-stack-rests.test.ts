import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('nothing is looked at until it is resumed, and nothing that came meanwhile is lost', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' }, suspend: true });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.until('the hook', async () =>
    (await plumbline.events('shop')).find((event) => event.type === 'PushReceived'),
  );
  await plumbline.until('a look', async () =>
    (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
  );
  expect(await plumbline.runs('shop')).toEqual([]);
  expect((await plumbline.view('shop')).why).toContain('suspended');
  expect((await plumbline.post('shop', 'resume')).status).toBe(200);
  await plumbline.untilRun('shop', ['applied']);
});

it('suspended between the approval and the apply, nothing is applied, also within the engine lock', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  plumbline.engine.hooks.gate = async () => void (await plumbline.post('shop', 'suspend'));
  await plumbline.approve('shop', waiting);
  await plumbline.untilRun('shop', ['stale']);
  expect((await plumbline.untilEvent('shop', 'PlanStale')).message).toContain('the stack was suspended');
  expect(plumbline.engine.log).toEqual([]);
  plumbline.engine.hooks.gate = undefined;
  await plumbline.post('shop', 'resume');
  const next = await plumbline.untilRun('shop', ['awaiting_approval'], waiting.number);
  await plumbline.post('shop', 'suspend');
  await plumbline.approve('shop', next);
  await plumbline.until('a look', async () =>
    (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
  );
  expect((await plumbline.run('shop', next.number)).run.state).toBe('approved');
  expect(plumbline.engine.log).toEqual([]);
  await plumbline.post('shop', 'resume');
  await plumbline.untilRun('shop', ['awaiting_approval'], next.number);
  expect((await plumbline.run('shop', next.number)).run.state).toBe('superseded');
});
