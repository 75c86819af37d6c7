import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

it('is stopped midway where an unknown turns out to be more than the plan allowed, and says so', async () => {
  const request = await fixture.request({ files: { A: 'x', a: 'one' }, behaviour: 'inside' });
  // The first resource is not made yet, so its size is unknown, and what is made inside of it is not seen.
  const { plan, changes } = await fixture.engine.preview(request);
  expect(changes.map(({ name, op }) => `${op} ${name}`)).toEqual(['create A']);
  await expect(fixture.engine.apply({ ...request, plan, gate: async () => [] })).rejects.toMatchObject({
    reason: 'PlanExceeded',
    kind: 'stalled',
  });
  expect(await fixture.files()).toEqual({ A: 'x', a: 'one' });
  expect((await fixture.engine.checkpoint(request)).pendingOperations).toEqual([]);
});

it('refuses a state that is no JSON and names what to do; restored, it is as it was', async () => {
  const request = await fixture.request({ files: { a: 'one' } });
  const path = join(fixture.stateDir, '.pulumi/stacks/files/test.json');
  const text = await readFile(path, 'utf8');
  for (const broken of [text.slice(0, text.length / 2), '', '{"checkpoint": 7}']) {
    await writeFile(path, broken);
    await expect(fixture.engine.checkpoint(request)).rejects.toMatchObject({
      reason: 'StateInvalid',
      message: expect.stringContaining('Restore it from a backup'),
    });
  }
  await writeFile(path, text);
  expect(await fixture.engine.checkpoint(request)).toMatchObject({ pendingOperations: [] });
});

describe('destroy', () => {
  const everything = ['A', 'a'];

  it('names every resource of the state and runs no program for it', async () => {
    const request = await fixture.request({ behaviour: 'throw' });
    const { changes, urns, retained } = await fixture.engine.previewDestroy(request);
    expect(changes.filter(({ op }) => op === 'delete').map(({ name }) => name)).toEqual(
      expect.arrayContaining([...everything, 'files-test']),
    );
    expect(urns).toHaveLength((await fixture.engine.checkpoint(request)).resources);
    expect(retained).toEqual([]);
  });

  it('takes nothing when something differs from what was approved', async () => {
    const request = await fixture.request({ behaviour: 'throw' });
    const { urns } = await fixture.engine.previewDestroy(request);
    const before = await fixture.engine.checkpoint(request);
    const gate = async () => ['checkpoint was sha256:a when approved and is now sha256:b'];
    await expect(fixture.engine.destroy({ ...request, targets: urns, gate })).rejects.toMatchObject({
      reason: 'PlanStale',
      message: expect.stringContaining('checkpoint was sha256:a'),
    });
    expect(await fixture.engine.checkpoint(request)).toEqual(before);
    expect(Object.keys(await fixture.files())).toEqual(everything);
  });

  it('takes exactly the list it is given, under the lock of the state, and refuses to name nothing', async () => {
    const request = await fixture.request({ behaviour: 'throw' });
    const { urns } = await fixture.engine.previewDestroy(request);
    const locks = join(fixture.stateDir, '.pulumi/locks/organization/files/test');
    let held: string[] = [];
    const gate = async () => {
      held = await readdir(locks);
      return [];
    };
    await expect(fixture.engine.destroy({ ...request, targets: [], gate })).rejects.toThrow('names what it takes away');
    const one = urns.filter((urn) => urn.endsWith('::A'));
    await fixture.engine.destroy({ ...(await fixture.request({})), targets: one, gate });
    expect(held).not.toEqual([]);
    expect(await fixture.files()).toEqual({ a: 'one' });

    const left = urns.filter((urn) => !urn.endsWith('::A'));
    const { checkpoint } = await fixture.engine.destroy({ ...request, targets: left, gate });
    expect(checkpoint).toEqual({ hash: 'absent', resources: 0, dynamic: 0, pendingOperations: [] });
    expect(await fixture.files()).toEqual({});
  });

  it('is refused at the plan where a resource is protected, and names it', async () => {
    await fixture.apply({ files: { kept: 'x' }, protect: true });
    const request = await fixture.request({});
    await expect(fixture.engine.previewDestroy(request)).rejects.toMatchObject({
      reason: 'ResourceProtected',
      message: expect.stringContaining('kept'),
    });
    // The state says that it brings its own code: a dynamic resource, and the provider of it.
    expect(await fixture.engine.checkpoint(request)).toMatchObject({ resources: 3, dynamic: 2 });
  });
});
