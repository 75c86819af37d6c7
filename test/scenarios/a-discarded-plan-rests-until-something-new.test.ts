import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

async function discarded() {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  const answer = await plumbline.post('shop', `runs/${waiting.number}/discard`, {
    planDigest: waiting.planDigest,
    comment: 'no',
  });
  expect(answer.status).toBe(200);
  expect((await plumbline.approve('shop', waiting)).status).toBe(409);
  await plumbline.untilCondition('shop', 'Stalled', 'PlanDiscarded');
  return waiting;
}

it('the same revision, pushed again, is not planned again', async () => {
  await discarded();
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.until('the hook to be handled', async () =>
    (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
  );
  expect(await plumbline.runs('shop')).toHaveLength(1);
  expect(await plumbline.condition('shop', 'Stalled')).toMatchObject({ reason: 'PlanDiscarded' });
});

it('a new revision is planned', async () => {
  const first = await discarded();
  const digest = await plumbline.push({ resources: { web: { size: 2 } } });
  const next = await plumbline.untilRun('shop', ['awaiting_approval'], first.number);
  expect(next).toMatchObject({ digest, trigger: 'revision' });
});

it('a person who asks gets a new plan of the same revision', async () => {
  const first = await discarded();
  expect((await plumbline.post('shop', 'reconcile')).status).toBe(202);
  const next = await plumbline.untilRun('shop', ['awaiting_approval'], first.number);
  expect(next.digest).toBe(first.digest);
  expect((await plumbline.approve('shop', { ...next, planDigest: first.planDigest })).status).toBe(
    next.planDigest === first.planDigest ? 200 : 409,
  );
});
