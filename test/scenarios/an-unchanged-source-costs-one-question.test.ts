import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

const rested = () =>
  plumbline.until('the stack to rest until the next poll', async () => {
    const due = (await plumbline.view('shop')).status.nextReconcileAt;
    return due !== null && new Date(due) > new Date() ? true : undefined;
  });

it('a poll that finds nothing new asks for the tag once and pulls nothing', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied']);

  const asked: string[] = [];
  const { registry } = plumbline.deps;
  plumbline.deps.registry = (credentials) => {
    const real = registry(credentials);
    return {
      ...real,
      resolve: async (...at) => {
        asked.push(`resolve ${at[1]}`);
        return await real.resolve(...at);
      },
      fetch: async (...at) => {
        asked.push(`fetch ${at[1].digest}`);
        return await real.fetch(...at);
      },
      tags: async (...at) => {
        asked.push('tags');
        return await real.tags(...at);
      },
      referrers: async (...at) => {
        asked.push('referrers');
        return await real.referrers(...at);
      },
    };
  };
  await rested();
  asked.length = 0;
  const due = { source_due_at: new Date(0), next_reconcile_at: new Date(0) };
  await plumbline.database.db.updateTable('stacks').set(due).execute();
  await plumbline.sweep();
  await rested();
  expect(asked).toEqual(['resolve prod']);
});
