import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('is tried again with growing pauses, then rests; the next stack is unharmed; a new revision counts anew', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.stack('blog', { approval: { mode: 'auto' }, pulumi: { stack: 'blog' } });
  await plumbline.push({ resources: {}, throws: 'boom' });
  await plumbline.push({ resources: { page: { size: 1 } } }, 'prod', 'blog');
  const stalled = await plumbline.untilCondition('shop', 'Stalled', 'PreviewFailed');
  expect(stalled.message).toContain('gave up after 3 attempts');
  expect(stalled.message).toContain('boom');
  const runs = await plumbline.runs('shop');
  expect(runs.map((run) => run.trigger)).toEqual(['retry', 'retry', 'revision']);
  const starts = runs.map((run) => new Date(run.createdAt).getTime());
  expect(Number(starts[1]) - Number(starts[2])).toBeGreaterThanOrEqual(1000);
  expect(Number(starts[0]) - Number(starts[1])).toBeGreaterThanOrEqual(2000);
  await plumbline.untilRun('blog', ['applied']);

  await plumbline.push({ resources: {}, throws: 'bang' });
  const next = await plumbline.untilRun('shop', ['errored'], runs.length);
  expect(next.trigger).toBe('revision');
  expect((await plumbline.view('shop')).status.failures).toBe(1);
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied'], runs.length);
  expect((await plumbline.view('shop')).status.failures).toBe(0);
  expect(plumbline.engine.log).toEqual(['create page', 'create web']);
});

it('a failing apply is refreshed before the next plan, and its rest is applied', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' }, retry: { interval: '1h' } });
  await plumbline.push({ resources: { a: { size: 1 }, b: { size: 1 } }, failsAfter: 'a' });
  expect(await plumbline.untilRun('shop', ['errored'])).toMatchObject({ reason: 'ApplyFailed' });
  await plumbline.push({ resources: { a: { size: 1 }, b: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied'], 1);
  expect(plumbline.engine.calls.refresh).toBe(1);
  expect(plumbline.engine.log).toEqual(['create a', 'create b']);
});
