import { afterEach, expect, it } from 'vitest';
import { createToken } from '#core/store/tokens.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('a scrape shows stacks, runs and queues as they are, and no stack by name', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.untilRun('shop', ['awaiting_approval']);
  const { token } = await createToken(plumbline.database.db, {
    tenant: null,
    name: 'metrics',
    role: 'admin',
    expiresAt: null,
    by: 'test',
  });

  const answer = await fetch(`${plumbline.url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  const text = await answer.text();

  const { tenant } = plumbline;
  expect(text).toContain(`plumbline_runs{tenant="${tenant}",operation="update",state="awaiting_approval"} 1`);
  expect(text).toContain(`plumbline_stacks{tenant="${tenant}",ready="Unknown",reason="AwaitingApproval"} 1`);
  expect(text).toContain(`plumbline_queue_waiting{tenant="${tenant}",queue="reconcile"} 0`);
  expect(text).toMatch(/plumbline_webhooks_total\{.*outcome="accepted".*\} [1-9]/);
  expect(text).not.toContain('shop');
});
