import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('creates and updates by itself; a delete and a replacement wait for a person', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'on-destructive' } });
  await plumbline.push({ resources: { web: { size: 1 }, db: { zone: 'a' } } });
  const first = await plumbline.untilRun('shop', ['applied']);
  await plumbline.push({ resources: { web: { size: 2 }, db: { zone: 'a' } } });
  const second = await plumbline.untilRun('shop', ['applied'], first.number);
  expect(second.needs).toEqual([]);

  await plumbline.push({ resources: { web: { size: 2 }, db: { zone: 'b' } } });
  const replacing = await plumbline.untilRun('shop', ['awaiting_approval'], second.number);
  expect(replacing.needs).toEqual(['replace of db (fake:index:Thing)', 'nobody signed what is applied']);
  await plumbline.push({ resources: { db: { zone: 'a' } } });
  const deleting = await plumbline.untilRun('shop', ['awaiting_approval'], replacing.number);
  expect(deleting.needs).toEqual(['delete of web (fake:index:Thing)', 'nobody signed what is applied']);
  expect(plumbline.engine.log).toEqual(['create db', 'create web', 'update web']);
});

it('auto applies by itself, deletes among it', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.push({ resources: { web: { size: 1 }, db: { size: 1 } } });
  const first = await plumbline.untilRun('shop', ['applied']);
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied'], first.number);
  expect(plumbline.engine.log).toEqual(['create db', 'create web', 'delete db']);
});
