import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import type { EngineRequest } from '#core/engine/port.ts';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

let fixture: EngineFixture;
beforeAll(async () => void (fixture = await openEngineFixture()));
afterAll(() => fixture.close());

const config = { files: { a: 'one' }, secret: 'hush hush' };

function identity() {
  const backend = new URL(inject('postgresUrl'));
  backend.searchParams.set('sslmode', 'disable');
  backend.searchParams.set('table', 'pulumi_state_e2e');
  return { backend: backend.href, organization: 'organization', project: 'files', stack: 'test' };
}

it('keeps a state that is no folder, and looks at it in the middle of an apply without passing for the run', async () => {
  const namespaces: (string | undefined)[] = [];
  let ended = 0;
  const guard = {
    started: async (namespace: string | undefined) => void namespaces.push(namespace),
    ended: async () => void (ended += 1),
    remainingMs: () => 120_000,
  };
  const inRunDir = (made: EngineRequest) => ({ ...made, environment: { FILES_DIR: made.runDir } });
  const request = inRunDir(await fixture.request(config, { identity: identity(), guard }));
  expect(await fixture.engine.checkpoint(request)).toMatchObject({ hash: 'absent' });
  const { plan } = await fixture.engine.preview(request);
  const processes = namespaces.length;
  const gate = async () => {
    expect(await fixture.engine.checkpoint(request)).toMatchObject({ hash: 'absent' });
    return namespaces.length === processes + 1 && ended === processes ? [] : ['the look was taken for the run'];
  };
  const applied = await fixture.engine.apply({ ...request, plan, gate });
  expect(applied.checkpoint).toMatchObject({ resources: 4, pendingOperations: [] });
  const again = inRunDir(await fixture.request(config, { identity: identity() }));
  expect(await fixture.engine.checkpoint(again)).toEqual(applied.checkpoint);
  expect(await fixture.engine.preview(again)).toMatchObject({ changes: [] });
});

it('calls a backend that does not answer by its name, not the program a failure', async () => {
  const gone = { ...identity(), backend: 'postgres://nobody@127.0.0.1:1/none?sslmode=disable' };
  const request = await fixture.request(config, { identity: gone });
  await expect(fixture.engine.preview(request)).rejects.toMatchObject({
    kind: 'transient',
    reason: 'BackendUnreachable',
  });
});
