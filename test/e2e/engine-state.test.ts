import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

const config = { files: { a: 'one' }, secret: 'hush hush' };
const urn = (name: string) => `urn:pulumi:test::files::pulumi-nodejs:dynamic:Resource::${name}`;

let fixture: EngineFixture;
beforeAll(async () => {
  fixture = await openEngineFixture();
  await fixture.apply(config);
});
afterAll(() => fixture.close());

const stateFile = () => join(fixture.stateDir, '.pulumi/stacks/files/test.json');

interface StateFile {
  checkpoint: { latest: { resources: Resource[]; pending_operations?: object[] } };
}

interface Resource {
  urn: string;
  inputs: Record<string, unknown>;
}

/** Leaves in the state what an engine leaves that was killed while it created `name`. */
async function leavePendingCreate(name: string) {
  const state: StateFile = JSON.parse(await readFile(stateFile(), 'utf8'));
  const { latest } = state.checkpoint;
  const sample = latest.resources.find((resource) => resource.urn === urn('a'));
  const inputs = { ...sample?.inputs, name, text: 'made by a killed run' };
  const resource = { ...sample, urn: urn(name), inputs, id: undefined, outputs: undefined };
  latest.pending_operations = [...(latest.pending_operations ?? []), { type: 'creating', resource }];
  await writeFile(stateFile(), JSON.stringify(state));
}

it('reports a foreign lock as such, and applies once the lock of a dead run is released', async () => {
  const locks = join(fixture.stateDir, '.pulumi/locks/organization/files/test');
  await mkdir(locks, { recursive: true });
  const lock = { pid: 1, username: 'root', hostname: 'plumb-dead', timestamp: '2026-01-01T00:00:00Z' };
  await writeFile(join(locks, 'left.json'), JSON.stringify(lock));
  const request = await fixture.request(config);
  const { plan } = await fixture.engine.preview(request);
  const apply = () => fixture.engine.apply({ ...request, plan, gate: async () => [] });
  await expect(apply()).rejects.toMatchObject({
    reason: 'StateLocked',
    message: expect.stringContaining('plumb-dead'),
  });
  expect(await fixture.engine.releaseOwnLock(request, ['other'])).toContain('root@plumb-dead');
  expect(await fixture.engine.releaseOwnLock(request, ['dead'])).toBeUndefined();
  await expect(apply()).resolves.toMatchObject({ checkpoint: { pendingOperations: [] } });
  expect(await readdir(locks)).toEqual([]);
});

it('keeps a pending create until a person answers, and clears it then', async () => {
  await leavePendingCreate('ghost');
  const pending = [{ urn: urn('ghost'), type: 'pulumi-nodejs:dynamic:Resource', operation: 'creating' }];
  const request = await fixture.request(config);
  expect(await fixture.engine.checkpoint(request)).toMatchObject({ pendingOperations: pending });
  expect(await fixture.engine.refresh(request, [])).toMatchObject({ pendingOperations: pending });
  const cleared = await fixture.engine.refresh(await fixture.request(config), [
    { urn: urn('ghost'), answer: 'clear', by: 'ann' },
  ]);
  expect(cleared.pendingOperations).toEqual([]);
});

it('imports a pending create that did happen, by the id a person gives', async () => {
  await leavePendingCreate('found');
  await writeFile(join(fixture.filesDir, 'found'), 'made by a killed run');
  const before = await fixture.engine.checkpoint(await fixture.request(config));
  const imported = await fixture.engine.refresh(await fixture.request(config), [
    { urn: urn('found'), answer: 'import', id: 'found', by: 'ann' },
  ]);
  expect(imported).toMatchObject({ resources: before.resources + 1, pendingOperations: [] });
  const { changes } = await fixture.engine.preview(
    await fixture.request({ ...config, files: { ...config.files, found: 'made by a killed run' } }),
  );
  expect(changes).toEqual([]);
});

it('says so when the id a person gives names nothing', async () => {
  await leavePendingCreate('lost');
  const refreshed = fixture.engine.refresh(await fixture.request(config), [
    { urn: urn('lost'), answer: 'import', id: 'nothing', by: 'ann' },
  ]);
  await expect(refreshed).rejects.toMatchObject({
    reason: 'PendingOperations',
    message: expect.stringContaining('nothing exists under the id'),
  });
});

it('stalls on a state that another passphrase encrypts', async () => {
  const request = await fixture.request({ files: { a: 'one' } }, { passphrase: 'not the one' });
  await expect(fixture.engine.preview(request)).rejects.toMatchObject({ kind: 'stalled', reason: 'StateMovedOutside' });
});

it('gives an interrupted run the reason of its signal', async () => {
  const controller = new AbortController();
  const request = await fixture.request({ behaviour: 'hang' }, { signal: controller.signal });
  const running = fixture.engine.preview(request);
  setTimeout(() => controller.abort(), 5_000);
  await expect(running).rejects.toMatchObject({ reason: 'Interrupted' });
});
