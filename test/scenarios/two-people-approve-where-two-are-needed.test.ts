import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('the first approval changes nothing, the second applies', async () => {
  plumbline = await startTestPlumbline();
  const [alice, bob] = [await plumbline.person('alice'), await plumbline.person('bob')];
  await plumbline.stack('shop', { approval: { mode: 'manual', required: 2 } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  expect(waiting.approvalsRequired).toBe(2);

  expect(await plumbline.approve('shop', waiting, alice)).toMatchObject({
    status: 200,
    body: { state: 'awaiting_approval' },
  });
  const again = await plumbline.approve('shop', waiting, alice);
  expect(again.status).toBe(409);
  expect(again.body.detail).toContain('2 different people');
  expect((await plumbline.run('shop', waiting.number)).run.state).toBe('awaiting_approval');
  expect(plumbline.engine.log).toEqual([]);

  expect(await plumbline.approve('shop', waiting, bob)).toMatchObject({ status: 200 });
  await plumbline.untilRun('shop', ['applied']);
  const { approvals } = await plumbline.run('shop', waiting.number);
  expect(approvals.map((approval) => approval.actor)).toEqual([`${plumbline.tenant}/alice`, `${plumbline.tenant}/bob`]);
  expect((await plumbline.approve('shop', waiting, await plumbline.person('carol'))).status).toBe(409);
});
