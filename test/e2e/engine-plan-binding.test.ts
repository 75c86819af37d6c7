import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DestroyPreview, EngineRequest, PreviewResult } from '#core/engine/port.ts';
import { openEngineFixture, stashes, type EngineFixture } from './engine-fixture.ts';

let fixture: EngineFixture;

const allow = async () => [];
const stateFile = () => join(fixture.stateDir, '.pulumi/stacks/files/test.json');
const locks = () => join(fixture.stateDir, '.pulumi/locks/organization/files/test');

describe('a program of Node.js', () => {
  let first: EngineRequest;
  const holders: string[] = [];
  let growing: EngineRequest;
  let seen: PreviewResult;

  beforeAll(async () => {
    fixture = await openEngineFixture();
    first = await fixture.request({ files: { a: 'one' } });
    const { plan } = await fixture.engine.preview(first);
    const gate = async () => {
      for (const name of (await readdir(locks())).filter((file) => file.endsWith('.json')))
        holders.push(await readFile(join(locks(), name), 'utf8'));
      return [];
    };
    await fixture.engine.apply({ ...first, plan, gate });
    growing = await fixture.request({ files: { A: 'x', a: 'one' }, behaviour: 'inside' });
    seen = await fixture.engine.preview(growing);
  });
  afterAll(() => fixture.close());

  it('asks the gate while it holds the lock of the state, under the name of the run', async () => {
    expect(holders).toHaveLength(1);
    expect(await readdir(locks())).toEqual([]);
    // Without namespaces the host name is the machine's own.
    if (process.platform === 'linux' && process.getuid?.() === 0) expect(holders[0]).toContain(`plumb-${first.runId}`);
  });

  it('brings its own code where the state says so: a dynamic resource, and the provider of it', async () => {
    expect(await fixture.engine.checkpoint(first)).toMatchObject({ resources: 3, dynamic: 2 });
  });

  it('changes nothing when the program asks for more than the plan allows', async () => {
    const other = await fixture.request({ files: { a: 'three', b: 'new' } });
    const thrown: unknown = await fixture.engine
      .apply({ ...other, plan: seen.plan, gate: allow })
      .catch((error: unknown) => error);
    expect(thrown).toMatchObject({ reason: 'PlanStale', message: expect.stringContaining('violates plan') });
    expect(await fixture.files()).toEqual({ a: 'one' });
  });

  it('is stopped midway where an unknown turns out to be more than the plan allowed, and says so', async () => {
    // The first resource is not made yet, so its size is unknown, and what is made inside of it is not seen.
    expect(seen.changes.map(({ name, op }) => `${op} ${name}`)).toEqual(['create A']);
    await expect(fixture.engine.apply({ ...growing, plan: seen.plan, gate: allow })).rejects.toMatchObject({
      reason: 'PlanExceeded',
      kind: 'stalled',
    });
    expect(await fixture.files()).toEqual({ A: 'x', a: 'one' });
    expect((await fixture.engine.checkpoint(growing)).pendingOperations).toEqual([]);
  });

  it('is not run for a destroy, which names every resource of the state and takes them all', async () => {
    const request = await fixture.request({ behaviour: 'throw' });
    const { changes, urns, retained } = await fixture.engine.previewDestroy(request);
    expect(changes.filter(({ op }) => op === 'delete').map(({ name }) => name)).toEqual(
      expect.arrayContaining(['A', 'a', 'files-test']),
    );
    expect(urns).toHaveLength((await fixture.engine.checkpoint(request)).resources);
    expect(retained).toEqual([]);
    const { checkpoint } = await fixture.engine.destroy({ ...request, targets: urns, gate: allow });
    expect(checkpoint).toMatchObject({ hash: 'absent', resources: 0 });
    expect(await fixture.files()).toEqual({});
  });
});

describe('a program of YAML', () => {
  const stateText = () => readFile(stateFile(), 'utf8');
  const differs = async () => ['checkpoint was sha256:a when approved and is now sha256:b'];

  async function applied(resources: Record<string, unknown>) {
    const request = await fixture.yamlRequest(resources);
    const { plan } = await fixture.engine.preview(request);
    await fixture.engine.apply({ ...request, plan, gate: allow });
  }

  beforeAll(async () => {
    fixture = await openEngineFixture();
    await applied(stashes({ A: 'x', a: 'one' }));
  });
  afterAll(() => fixture.close());

  it('changes nothing when something differs from what was approved, and says what; nor when the approval cannot be checked', async () => {
    const request = await fixture.yamlRequest(stashes({ A: 'x', a: 'two' }));
    const { plan, summary } = await fixture.engine.preview(request);
    expect(summary).toMatchObject({ update: 1 });
    const [before, text] = [await fixture.engine.checkpoint(request), await stateText()];
    await expect(fixture.engine.apply({ ...request, plan, gate: differs })).rejects.toMatchObject({
      reason: 'PlanStale',
      message: expect.stringContaining('checkpoint was sha256:a'),
    });
    const gate = () => Promise.reject(new Error('the database is gone'));
    await expect(fixture.engine.apply({ ...request, plan, gate })).rejects.toThrow('the database is gone');
    expect(await fixture.engine.checkpoint(request)).toEqual(before);
    expect(await stateText()).toBe(text);
  });

  it('is refused a state that is no JSON, with what to do; restored, it is as it was', async () => {
    const request = await fixture.yamlRequest({});
    const text = await stateText();
    for (const broken of [text.slice(0, text.length / 2), '', '{"checkpoint": 7}']) {
      await writeFile(stateFile(), broken);
      await expect(fixture.engine.checkpoint(request)).rejects.toMatchObject({
        reason: 'StateInvalid',
        message: expect.stringContaining('Restore it from a backup'),
      });
    }
    await writeFile(stateFile(), text);
    expect(await fixture.engine.checkpoint(request)).toMatchObject({ pendingOperations: [] });
  });

  describe('destroy', () => {
    /** Of a program that could not be planned. */
    let request: EngineRequest;
    let preview: DestroyPreview;

    beforeAll(async () => {
      request = await fixture.yamlRequest(stashes({ a: '${nothing}' }));
      preview = await fixture.engine.previewDestroy(request);
    });

    it('names every resource of the state and runs no program for it', async () => {
      const { changes, urns, retained } = preview;
      expect(changes.filter(({ op }) => op === 'delete').map(({ name }) => name)).toEqual(
        expect.arrayContaining(['A', 'a', 'files-test']),
      );
      expect(urns).toHaveLength((await fixture.engine.checkpoint(request)).resources);
      expect(retained).toEqual([]);
    });

    it('takes nothing when something differs from what was approved', async () => {
      const [before, text] = [await fixture.engine.checkpoint(request), await stateText()];
      await expect(fixture.engine.destroy({ ...request, targets: preview.urns, gate: differs })).rejects.toMatchObject({
        reason: 'PlanStale',
        message: expect.stringContaining('checkpoint was sha256:a'),
      });
      expect(await fixture.engine.checkpoint(request)).toEqual(before);
      expect(await stateText()).toBe(text);
    });

    it('takes exactly the list it is given, under the lock of the state, and refuses to name nothing', async () => {
      let held: string[] = [];
      const gate = async () => {
        held = await readdir(locks());
        return [];
      };
      await expect(fixture.engine.destroy({ ...request, targets: [], gate })).rejects.toThrow(
        'names what it takes away',
      );
      const one = preview.urns.filter((urn) => urn.endsWith('::A'));
      const left = preview.urns.filter((urn) => !urn.endsWith('::A'));
      const { checkpoint: rest } = await fixture.engine.destroy({ ...request, targets: one, gate });
      expect(held).not.toEqual([]);
      expect(rest).toMatchObject({ resources: left.length });
      expect(await stateText()).toContain('Stash::a"');
      expect(await stateText()).not.toContain('Stash::A"');

      const { checkpoint } = await fixture.engine.destroy({ ...request, targets: left, gate });
      expect(checkpoint).toEqual({ hash: 'absent', resources: 0, dynamic: 0, pendingOperations: [] });
    });

    it('is refused at the plan where a resource is protected, and names it', async () => {
      await applied(stashes({ kept: 'x' }, { protect: true }));
      await expect(fixture.engine.previewDestroy(request)).rejects.toMatchObject({
        reason: 'ResourceProtected',
        message: expect.stringContaining('kept'),
      });
    });
  });
});
