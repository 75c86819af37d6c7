import { randomUUID } from 'node:crypto';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEngineFixture, stashes, type EngineFixture } from './engine-fixture.ts';

const config = { files: { a: 'one' }, secret: 'hush hush' };
const urn = (name: string) => `urn:pulumi:test::files::pulumi-nodejs:dynamic:Resource::${name}`;

let fixture: EngineFixture;
/** Where no provider has to be asked. */
let words: EngineFixture;
beforeAll(async () => {
  [fixture, words] = await Promise.all([openEngineFixture(), openEngineFixture()]);
  await fixture.apply(config);
  const request = await wordsRequest();
  const { plan } = await words.engine.preview(request);
  await words.engine.apply({ ...request, plan, gate: async () => [] });
});
afterAll(async () => {
  await fixture.close();
  await words.close();
});
const wordsRequest = (more?: { passphrase: string }) => words.yamlRequest(stashes({ a: 'one' }), more);

interface StateFile {
  checkpoint: { latest: { resources: Resource[]; pending_operations?: object[] } };
}

interface Resource {
  urn: string;
  inputs: Record<string, unknown>;
}

/** Leaves in the state what an engine leaves that was killed while it created `name`, which is like `a`. */
async function leavePendingCreate({ stateDir }: EngineFixture, name: string) {
  const stateFile = join(stateDir, '.pulumi/stacks/files/test.json');
  const state: StateFile = JSON.parse(await readFile(stateFile, 'utf8'));
  const { latest } = state.checkpoint;
  const sample = latest.resources.find((resource) => resource.urn.endsWith('::a'));
  if (sample === undefined) throw new Error('the state holds no a');
  const inputs = { ...sample.inputs, name, text: 'made by a killed run' };
  const pending = sample.urn.replace(/::a$/, `::${name}`);
  const resource = { ...sample, urn: pending, inputs, id: undefined, outputs: undefined };
  latest.pending_operations = [...(latest.pending_operations ?? []), { type: 'creating', resource }];
  await writeFile(stateFile, JSON.stringify(state));
}

it('reports a foreign lock as such, and applies once the lock of a dead run is released', async () => {
  const locks = join(words.stateDir, '.pulumi/locks/organization/files/test');
  await mkdir(locks, { recursive: true });
  const lock = { pid: 1, username: 'root', hostname: 'plumb-dead', timestamp: '2026-01-01T00:00:00Z' };
  await writeFile(join(locks, `${randomUUID()}.json`), JSON.stringify(lock));
  const request = await wordsRequest();
  const { plan } = await words.engine.preview(request);
  const apply = () => words.engine.apply({ ...request, plan, gate: async () => [] });
  await expect(apply()).rejects.toMatchObject({
    reason: 'StateLocked',
    message: expect.stringContaining('plumb-dead'),
  });
  expect(await words.engine.releaseOwnLock(request, ['other'])).toContain('root@plumb-dead');
  expect(await words.engine.releaseOwnLock(request, ['dead'])).toBeUndefined();
  await expect(apply()).resolves.toMatchObject({ checkpoint: { pendingOperations: [] } });
  expect(await readdir(locks)).toEqual([]);
});

it('keeps a pending create until a person answers, and clears it then', async () => {
  const ghost = 'urn:pulumi:test::files::pulumi:index:Stash::ghost';
  await leavePendingCreate(words, 'ghost');
  const pending = [{ urn: ghost, type: 'pulumi:index:Stash', operation: 'creating' }];
  const request = await wordsRequest();
  expect(await words.engine.checkpoint(request)).toMatchObject({ pendingOperations: pending });
  expect(await words.engine.refresh(request, [])).toMatchObject({ pendingOperations: pending });
  const cleared = await words.engine.refresh(await wordsRequest(), [{ urn: ghost, answer: 'clear', by: 'ann' }]);
  expect(cleared.pendingOperations).toEqual([]);
});

/** An answer is tried on a copy of the state first, and the world of the provider lies below the state itself. */
const live = () => ({ readOnlyDirs: [fixture.filesDir] });

it('imports a pending create that did happen, by the id a person gives', async () => {
  await leavePendingCreate(fixture, 'found');
  await writeFile(join(fixture.filesDir, 'found'), 'made by a killed run');
  const before = await fixture.engine.checkpoint(await fixture.request(config));
  const imported = await fixture.engine.refresh(await fixture.request(config, live()), [
    { urn: urn('found'), answer: 'import', id: 'found', by: 'ann' },
  ]);
  expect(imported).toMatchObject({ resources: before.resources + 1, pendingOperations: [] });
  const { changes } = await fixture.engine.preview(
    await fixture.request({ ...config, files: { ...config.files, found: 'made by a killed run' } }),
  );
  expect(changes).toEqual([]);
});

it('says so when the id a person gives names nothing', async () => {
  await leavePendingCreate(fixture, 'lost');
  const refreshed = fixture.engine.refresh(await fixture.request(config, live()), [
    { urn: urn('lost'), answer: 'import', id: 'nothing', by: 'ann' },
  ]);
  await expect(refreshed).rejects.toMatchObject({
    reason: 'PendingOperations',
    message: expect.stringContaining('nothing exists under the id'),
  });
});

it('stalls on a state that another passphrase encrypts', async () => {
  const request = await wordsRequest({ passphrase: 'not the one' });
  await expect(words.engine.preview(request)).rejects.toMatchObject({ kind: 'stalled', reason: 'StateMovedOutside' });
});

it('gives an interrupted run the reason of its signal', async () => {
  const controller = new AbortController();
  const request = await fixture.request({ behaviour: 'hang' }, { signal: controller.signal });
  const running = fixture.engine.preview(request);
  setTimeout(() => controller.abort(), 5_000);
  await expect(running).rejects.toMatchObject({ reason: 'Interrupted' });
});
