import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('an expired plan is not applied, and a person who asks gets a new one', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'manual', expires: '1s' } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  await plumbline.untilRun('shop', ['expired']);
  expect((await plumbline.approve('shop', waiting)).status).toBe(409);
  expect(await plumbline.condition('shop', 'Stalled')).toMatchObject({ status: 'True', reason: 'ApprovalExpired' });
  expect(plumbline.engine.calls).toMatchObject({ preview: 1, apply: 0 });

  await plumbline.post('shop', 'reconcile');
  await plumbline.untilRun('shop', ['awaiting_approval', 'expired'], waiting.number);
  expect(plumbline.engine.calls).toMatchObject({ preview: 2, apply: 0 });
});

it('an approval after the end is refused even before a worker has noticed', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  const late = new Date(Date.now() - 1000);
  await plumbline.database.db
    .updateTable('runs')
    .set({ expires_at: late })
    .where('number', '=', waiting.number)
    .execute();
  const answer = await plumbline.approve('shop', waiting);
  expect(answer).toMatchObject({ status: 409 });
  expect(answer.body.detail).toContain('expired');
  expect(plumbline.engine.calls.apply).toBe(0);
});
