import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('a push is previewed, waits for a person, and exactly the approved plan is applied', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  const digest = await plumbline.push({ resources: { web: { size: 1 }, db: { size: 2 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  expect(waiting).toMatchObject({ digest, operation: 'update', trigger: 'revision', summary: { create: 2 } });
  expect(plumbline.engine.log).toEqual([]);

  const { plan } = await plumbline.run('shop', waiting.number);
  expect(plan?.changes.map((change) => `${change.op} ${change.name}`)).toEqual(['create db', 'create web']);

  expect(await plumbline.approve('shop', waiting)).toMatchObject({ status: 200 });
  await plumbline.untilRun('shop', ['applied']);
  expect(plumbline.engine.log).toEqual(['create db', 'create web']);

  const view = await plumbline.view('shop');
  expect(view.status.applied).toMatchObject({ digest, generation: 1 });
  expect(view.status.conditions.find((condition) => condition.type === 'Ready')).toMatchObject({
    status: 'True',
    reason: 'Applied',
  });
  const events = await plumbline.events('shop');
  expect(events.map((event) => event.type)).toEqual(
    expect.arrayContaining(['RevisionFound', 'ApprovalNeeded', 'ApplyStarted', 'Applied']),
  );
});
