import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
beforeAll(async () => void (plumbline = await startTestPlumbline()));
afterAll(() => plumbline.close());

it('a state that was there before is adopted by a person in every mode, also where nothing would change', async () => {
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const first = await plumbline.untilRun('shop', ['applied']);
  const { identity } = (await plumbline.view('shop')).status;
  // As if somebody else had made it.
  await plumbline.database.db
    .updateTable('stacks')
    .set({ checkpoint: null, checkpoint_resources: null, identity: null, applied_digest: null, applied_run_id: null })
    .execute();
  await plumbline.post('shop', 'reconcile');
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], first.number);
  expect(waiting.needs).toContain('adopts a state of 1 resources');
  const applies = plumbline.engine.calls.apply;
  expect(await plumbline.approve('shop', waiting)).toMatchObject({ status: 200 });
  await plumbline.untilRun('shop', ['applied'], first.number);
  expect(plumbline.engine.calls.apply).toBe(applies + 1);
  expect(plumbline.engine.log).toHaveLength(1);
  expect((await plumbline.view('shop')).status.identity).toEqual(identity);
});
