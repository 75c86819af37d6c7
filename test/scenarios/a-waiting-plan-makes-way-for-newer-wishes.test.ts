import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

async function waiting() {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  return await plumbline.untilRun('shop', ['awaiting_approval']);
}

it('a new revision supersedes it, and the digest of the first approves nothing of the second', async () => {
  const first = await waiting();
  const digest = await plumbline.push({ resources: { web: { size: 2 } } });
  const second = await plumbline.untilRun('shop', ['awaiting_approval'], first.number);
  expect(second).toMatchObject({ digest });
  expect((await plumbline.run('shop', first.number)).run.state).toBe('superseded');
  expect((await plumbline.approve('shop', first)).status).toBe(409);
  expect((await plumbline.approve('shop', { number: second.number, planDigest: first.planDigest })).status).toBe(409);
  expect(plumbline.engine.calls.apply).toBe(0);
  await plumbline.applied('shop');
  expect(plumbline.engine.only().world).toEqual({ web: { size: 2 } });
});

it('a new spec supersedes it', async () => {
  const first = await waiting();
  await plumbline.stack('shop', { pulumi: { stack: 'prod', config: { size: 3 } } });
  const second = await plumbline.untilRun('shop', ['awaiting_approval'], first.number);
  expect(second).toMatchObject({ digest: first.digest, generation: 2, trigger: 'revision' });
  expect(second.planDigest).not.toBe(first.planDigest);
  expect((await plumbline.run('shop', first.number)).run.state).toBe('superseded');
});
