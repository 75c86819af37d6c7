import { afterEach, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('is planned once more, then stalls: nothing is tried for ever', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  plumbline.engine.hooks.apply = async () => {
    throw transient('PlanStale', 'violates plan: properties changed: +-size');
  };
  await plumbline.push({ resources: { web: { size: 1 } } });
  const { message } = await plumbline.untilCondition('shop', 'Stalled', 'NonDeterministic');
  expect(message).toContain('violates plan');
  expect((await plumbline.runs('shop')).map((run) => `${run.state} ${run.reason}`)).toEqual([
    'errored NonDeterministic',
    'stale NonDeterministic',
  ]);
  expect(plumbline.engine.log).toEqual([]);

  plumbline.engine.hooks.apply = undefined;
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.untilRun('shop', ['applied'], 2);
});
