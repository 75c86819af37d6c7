import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

const program = { resources: { web: { size: 1 } } };

async function following(semver: string) {
  plumbline = await startTestPlumbline();
  const source = { repository: `oci://${plumbline.registryHost}/infra/shop`, ref: { semver }, interval: '1h' };
  await plumbline.stack('shop', { source, approval: { mode: 'auto' } });
}

async function waitedFor(says: string): Promise<void> {
  const { message, status } = await plumbline.until('the missing version to be told', async () => {
    const ready = await plumbline.condition('shop', 'Ready');
    return ready?.reason === 'SourceNotFound' && ready.message.includes(says) ? ready : undefined;
  });
  expect(status).toBe('False');
  expect(message).toContain('infra/shop');
  expect(message).toMatch(/push (it|one)/);
  expect(await plumbline.condition('shop', 'Stalled')).toBeUndefined();
  expect(await plumbline.runs('shop')).toEqual([]);
}

it('a range without a tag in it is asked for again, like a tag that is missing, and the first push into it is applied', async () => {
  await following('^1.2');
  await waitedFor('nothing was pushed to this repository');
  await plumbline.push(program, '1.1.9');
  await waitedFor('no tag of');
  await plumbline.push(program, '2.0.0');
  await plumbline.push(program, 'latest');
  const polls = await plumbline.database.db.selectFrom('stacks').select('source_due_at').executeTakeFirstOrThrow();
  // The retry interval of the harness is a second, its source interval an hour.
  expect(Number(polls.source_due_at?.getTime()) - Date.now()).toBeLessThan(10_000);
  await waitedFor('no tag of');

  const digest = await plumbline.push({ resources: { web: { size: 2 } } }, '1.4.0');
  expect(await plumbline.untilRun('shop', ['applied'])).toMatchObject({ digest, revision: `1.4.0@${digest}` });
  await plumbline.push({ resources: { web: { size: 3 } } }, '1.10.0');
  await plumbline.untilRun('shop', ['applied'], 1);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 3 } });
});
