import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

const config = { files: { a: 'one', b: 'two', c: 'three' }, secret: 'hush hush' };
const urn = (name: string) => `urn:pulumi:test::files::pulumi-nodejs:dynamic:Resource::${name}`;

let fixture: EngineFixture;
beforeAll(async () => {
  fixture = await openEngineFixture();
  await fixture.apply(config);
});
afterAll(() => fixture.close());

it('finds none in a world that agrees', async () => {
  expect(await fixture.engine.drift(await fixture.request(config))).toEqual({ items: [], resources: 5, noise: 0 });
});

it('reports what changed with old and new value, what is missing, a changed secret without its value, and what an apply of the same artifact would still change; and writes nothing', async () => {
  await writeFile(join(fixture.filesDir, 'a'), 'three');
  await writeFile(join(fixture.filesDir, 'secret'), 'other');
  await rm(join(fixture.filesDir, 'b'));
  const request = await fixture.request({ ...config, files: { ...config.files, c: 'drei' } });
  const before = await fixture.engine.checkpoint(request);
  const { items } = await fixture.engine.drift(request);
  expect(items.find((item) => item.urn === urn('a') && item.path === 'text')).toMatchObject({
    kind: 'changed',
    before: 'one',
    after: 'three',
  });
  expect(items.filter((item) => item.urn === urn('b'))).toMatchObject([{ kind: 'missing', path: '' }]);
  expect(items.some((item) => item.urn === urn('secret') && item.kind === 'changed')).toBe(true);
  // The live world agrees about the last one, so all there is of it is what the program now says.
  const pending = {
    urn: urn('c'),
    type: 'pulumi-nodejs:dynamic:Resource',
    path: 'text',
    kind: 'pending-change',
    before: 'three',
    after: 'drei',
  };
  expect(items.filter((item) => item.urn === urn('c') || item.kind === 'pending-change')).toEqual([pending]);
  expect(JSON.stringify(items)).not.toContain('hush');
  expect(await fixture.engine.checkpoint(request)).toEqual(before);
});

it('heals exactly the resource it is told to, while a check looks that sees the state move', async () => {
  const targets = [urn('a')];
  const before = await fixture.log();
  const refreshed = await fixture.engine.refresh(await fixture.request(config, { targets }), []);
  expect(refreshed.resources).toBe(6);
  const request = await fixture.request(config, { targets });
  const { plan, changes } = await fixture.engine.preview(request);
  expect(changes.map(({ op, name }) => `${op} ${name}`)).toEqual(['update a']);
  // A check takes no lock, so neither waits for the other; that the state moved is what tells it to throw its result away.
  const stateBefore = await fixture.engine.checkpoint(request);
  const look = fixture.engine.drift(await fixture.request(config)).catch(() => undefined);
  await fixture.engine.apply({ ...request, plan, gate: async () => [] });
  await look;
  expect((await fixture.engine.checkpoint(request)).hash).not.toBe(stateBefore.hash);
  expect((await fixture.log()).slice(before.length)).toEqual(['update a']);
  expect((await fixture.files())['a']).toBe('one');
});

it('runs the program in the refresh where the spec says so, and finds the same', async () => {
  await writeFile(join(fixture.filesDir, 'a'), 'another');
  const request = await fixture.request(config, { runProgram: true });
  const before = await fixture.engine.checkpoint(request);
  const { items } = await fixture.engine.drift(request);
  expect(items.filter(({ urn: at, kind }) => at === urn('a') && kind === 'changed')).toMatchObject([
    { path: 'size' },
    { path: 'text', before: 'one', after: 'another' },
  ]);
  expect(await fixture.engine.checkpoint(request)).toEqual(before);
});

it('believes nothing of a refresh that failed half-way, and says which resource could not be read', async () => {
  await writeFile(join(fixture.filesDir, 'a'), 'nobody may read this');
  await expect(fixture.engine.drift(await fixture.request(config))).rejects.toMatchObject({
    reason: 'DriftCheckFailed',
    message: expect.stringContaining('access to a is denied'),
  });
});

it('ends a provider that never answers at the limit of the check', async () => {
  await writeFile(join(fixture.filesDir, 'a'), 'this never answers');
  await expect(fixture.engine.drift(await fixture.request(config, { timeoutMs: 4_000 }))).rejects.toMatchObject({
    reason: 'TimedOut',
  });
});
