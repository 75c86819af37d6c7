import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

let fixture: EngineFixture;
beforeAll(async () => {
  fixture = await openEngineFixture();
  await fixture.apply({ files: { a: 'one' } });
});
afterAll(() => fixture.close());

it('asks the gate while it holds the lock of the state, under the name of the run', async () => {
  const request = await fixture.request({ files: { a: 'one' } });
  const { plan } = await fixture.engine.preview(request);
  const locks = join(fixture.stateDir, '.pulumi/locks/organization/files/test');
  const holders: string[] = [];
  const gate = async () => {
    for (const name of (await readdir(locks)).filter((file) => file.endsWith('.json'))) {
      holders.push(await readFile(join(locks, name), 'utf8'));
    }
    return [];
  };
  await fixture.engine.apply({ ...request, plan, gate });
  expect(holders).toHaveLength(1);
  expect(await readdir(locks)).toEqual([]);
  // Without namespaces the host name is the machine's own.
  if (process.platform === 'linux' && process.getuid?.() === 0) expect(holders[0]).toContain(`plumb-${request.runId}`);
});

it('changes nothing when something differs from what was approved, and says what', async () => {
  const request = await fixture.request({ files: { a: 'two' } });
  const { plan } = await fixture.engine.preview(request);
  const before = await fixture.engine.checkpoint(request);
  const gate = async () => ['checkpoint was sha256:a when approved and is now sha256:b'];
  await expect(fixture.engine.apply({ ...request, plan, gate })).rejects.toMatchObject({
    reason: 'PlanStale',
    message: expect.stringContaining('checkpoint was sha256:a'),
  });
  expect(await fixture.engine.checkpoint(request)).toEqual(before);
  expect(await fixture.files()).toEqual({ a: 'one' });
});

it('changes nothing when the approval cannot be checked', async () => {
  const request = await fixture.request({ files: { a: 'two' } });
  const { plan } = await fixture.engine.preview(request);
  const gate = () => Promise.reject(new Error('the database is gone'));
  await expect(fixture.engine.apply({ ...request, plan, gate })).rejects.toThrow('the database is gone');
  expect(await fixture.files()).toEqual({ a: 'one' });
});

it('changes nothing when the program asks for more than the plan allows', async () => {
  const approved = await fixture.request({ files: { a: 'two' } });
  const { plan } = await fixture.engine.preview(approved);
  const other = await fixture.request({ files: { a: 'three', b: 'new' } });
  const thrown: unknown = await fixture.engine
    .apply({ ...other, plan, gate: async () => [] })
    .catch((error: unknown) => error);
  expect(thrown).toMatchObject({ reason: 'PlanStale', message: expect.stringContaining('violates plan') });
  expect(await fixture.files()).toEqual({ a: 'one' });
});
