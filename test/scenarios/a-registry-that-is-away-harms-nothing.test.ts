import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('a waiting plan is kept and can be applied, and the stack is as it was when the registry is back', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  await plumbline.registryAway(true);
  await plumbline.post('shop', 'reconcile');
  await plumbline.untilCondition('shop', 'Ready', 'SourceUnreachable');
  expect((await plumbline.run('shop', waiting.number)).run.state).toBe('awaiting_approval');
  await plumbline.registryAway(false);
  await plumbline.untilCondition('shop', 'Ready', 'AwaitingApproval');
  await plumbline.registryAway(true);
  expect((await plumbline.approve('shop', waiting)).status).toBe(200);
  await plumbline.untilRun('shop', ['applied']);
  await plumbline.registryAway(false);
});

it('an applied stack is ready again when the registry is back, without a run', async () => {
  plumbline = await startTestPlumbline();
  const source = { repository: `oci://${plumbline.registryHost}/infra/shop`, ref: { tag: 'prod' }, interval: '1s' };
  await plumbline.stack('shop', { source, approval: { mode: 'auto' } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied']);
  await plumbline.registryAway(true);
  await plumbline.untilCondition('shop', 'Ready', 'SourceUnreachable');
  await plumbline.registryAway(false);
  await plumbline.until('ready again', async () =>
    (await plumbline.condition('shop', 'Ready'))?.status === 'True' ? true : undefined,
  );
  expect(plumbline.engine.calls.preview).toBe(1);
});
