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
  expect(await fixture.engine.drift(await fixture.request(config))).toEqual({ items: [], resources: 5 });
});

it('reports what changed with old and new value, what is missing, and a changed secret without its value; and writes nothing', async () => {
  await writeFile(join(fixture.filesDir, 'a'), 'three');
  await writeFile(join(fixture.filesDir, 'secret'), 'other');
  await rm(join(fixture.filesDir, 'b'));
  const request = await fixture.request(config);
  const before = await fixture.engine.checkpoint(request);
  const { items } = await fixture.engine.drift(request);
  expect(items.find((item) => item.urn === urn('a') && item.path === 'text')).toMatchObject({
    kind: 'changed',
    before: 'one',
    after: 'three',
  });
  expect(items.filter((item) => item.urn === urn('b'))).toMatchObject([{ kind: 'missing', path: '' }]);
  expect(items.some((item) => item.urn === urn('secret') && item.kind === 'changed')).toBe(true);
  expect(items.some((item) => item.urn === urn('c'))).toBe(false);
  expect(JSON.stringify(items)).not.toContain('hush');
  expect(await fixture.engine.checkpoint(request)).toEqual(before);
});

it('reports what an apply of the same artifact would still change', async () => {
  const { items } = await fixture.engine.drift(
    await fixture.request({ ...config, files: { ...config.files, c: 'drei' } }),
  );
  expect(items.filter(({ kind }) => kind === 'pending-change')).toEqual([
    {
      urn: urn('c'),
      type: 'pulumi-nodejs:dynamic:Resource',
      path: 'text',
      kind: 'pending-change',
      before: 'three',
      after: 'drei',
    },
  ]);
});

it('heals exactly the resource it is told to: refreshes it, then plans and applies it', async () => {
  const targets = [urn('a')];
  const before = await fixture.log();
  const refreshed = await fixture.engine.refresh(await fixture.request(config, { targets }), []);
  expect(refreshed.resources).toBe(6);
  const request = await fixture.request(config, { targets });
  const { plan, changes } = await fixture.engine.preview(request);
  expect(changes.map(({ op, name }) => `${op} ${name}`)).toEqual(['update a']);
  await fixture.engine.apply({ ...request, plan, gate: async () => [] });
  expect((await fixture.log()).slice(before.length)).toEqual(['update a']);
  expect((await fixture.files())['a']).toBe('one');
});
