import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EngineRequest, PreviewResult } from '#core/engine/port.ts';
import { openEngineFixture, stashes, type EngineFixture } from './engine-fixture.ts';

let fixture: EngineFixture;
beforeAll(async () => void (fixture = await openEngineFixture()));
afterAll(() => fixture.close());

const allow = async () => [];

it('applies exactly what a preview of a new stack showed, and then has nothing to do', async () => {
  const request = await fixture.request({ files: { a: 'one', b: 'two' }, secret: 'hush hush' });
  expect(await fixture.engine.checkpoint(request)).toEqual({
    hash: 'absent',
    resources: 0,
    dynamic: 0,
    pendingOperations: [],
  });

  const preview = await fixture.engine.preview(request);
  expect(preview.summary).toEqual({ create: 4 });
  expect(preview.changes.map(({ name, op }) => `${op} ${name}`).sort()).toEqual([
    'create a',
    'create b',
    'create files-test',
    'create secret',
  ]);
  expect(await fixture.files()).toEqual({});
  expect(await fixture.engine.checkpoint(request)).toMatchObject({ hash: 'absent' });

  const applied = await fixture.engine.apply({ ...request, plan: preview.plan, gate: allow });
  expect(applied).toMatchObject({ summary: { create: 4 }, checkpoint: { resources: 5, pendingOperations: [] } });
  expect(await fixture.files()).toEqual({ a: 'one', b: 'two', secret: 'hush hush' });

  const again = await fixture.engine.preview(
    await fixture.request({ files: { a: 'one', b: 'two' }, secret: 'hush hush' }),
  );
  expect(again).toMatchObject({ changes: [], summary: { same: 4 } });
});

it('shows an update, a secret that changes and a delete each for what it is', async () => {
  const request = await fixture.request({
    files: { a: 'uno', c: 'three' },
    renamed: { c: 'sea' },
    secret: 'other words',
  });
  const preview = await fixture.engine.preview(request);
  const change = (name: string) => preview.changes.find((candidate) => candidate.name === name);
  expect(change('a')).toMatchObject({
    op: 'update',
    diffs: [{ path: 'text', kind: 'update', before: 'one', after: 'uno' }],
  });
  expect(change('secret')).toMatchObject({
    op: 'update',
    diffs: [{ path: 'text', before: '[secret]', after: '[secret]' }],
  });
  expect(change('b')).toMatchObject({ op: 'delete' });
  expect(change('c')).toMatchObject({ op: 'create' });
  await fixture.engine.apply({ ...request, plan: preview.plan, gate: allow });
  expect(await fixture.files()).toEqual({ a: 'uno', sea: 'three', secret: 'other words' });
});

describe('a preview', () => {
  let request: EngineRequest;
  let preview: PreviewResult;
  beforeAll(async () => {
    // Config is sorted, and what follows the first of them follows one that does not exist yet.
    const files = { Fresh: 'x', a: 'uno', c: 'three' };
    request = await fixture.request({ files, follow: true, secret: 'a third secret' });
    preview = await fixture.engine.preview(request);
  });

  it('shows a replacement for what it is', () => {
    const [replaced] = preview.changes.filter(({ op }) => op === 'replace');
    expect(replaced).toMatchObject({ name: 'c', diffs: [{ path: 'name', replaces: true, before: 'sea', after: 'c' }] });
  });

  it('never lets a secret out: not by output, changes or plan', () => {
    const said = `${fixture.output()}${JSON.stringify(preview.changes)}${preview.plan.toString('utf8')}`;
    expect(said).toContain('update');
    for (const secret of ['hush hush', 'other words', 'a third secret', request.passphrase])
      expect(said).not.toContain(secret);
  });

  it('lists what is not known before the apply', () => {
    expect(preview.unknowns).toContain('urn:pulumi:test::files::pulumi-nodejs:dynamic:Resource::follower#text');
  });
});

describe('of a stack that is applied', () => {
  let words: EngineFixture;
  beforeAll(async () => {
    words = await openEngineFixture();
    await apply(await words.yamlRequest(kept({ one: '1', two: '2' })));
  });
  afterAll(() => words.close());

  const kept = (others: Record<string, string>) => ({
    ...stashes(others),
    ...stashes({ kept: 'x' }, { protect: true }),
  });

  async function apply(request: EngineRequest): Promise<PreviewResult> {
    const preview = await words.engine.preview(request);
    await words.engine.apply({ ...request, plan: preview.plan, gate: allow });
    return preview;
  }

  it('says when a resource loses its protection', async () => {
    const request = await words.yamlRequest(stashes({ one: '1', two: '2', kept: 'x' }));
    const { changes } = await words.engine.preview(request);
    expect(changes).toMatchObject([{ name: 'kept', lostProtection: true }]);
  });

  it('touches only the resources it is told to', async () => {
    const targets = ['urn:pulumi:test::files::pulumi:index:Stash::one'];
    const { changes } = await apply(await words.yamlRequest(kept({ one: 'I', two: 'II' }), { targets }));
    expect(changes.map(({ name, op }) => `${op} ${name}`)).toEqual(['update one']);
    const state = await readFile(join(words.stateDir, '.pulumi/stacks/files/test.json'), 'utf8');
    const inputs = [...state.matchAll(/"input":\s*"([^"]*)"/g)].map(([, input]) => input);
    expect(inputs).toEqual(expect.arrayContaining(['I', '2', 'x']));
    expect(inputs).not.toContain('II');
  });
});

it('names the exact versions of everything that takes part', async () => {
  const { programDir } = await fixture.request({});
  const versions = await fixture.engine.versions(programDir);
  expect(versions).toMatchObject({
    engine: expect.stringMatching(/^v3\./),
    node: process.version,
    sdk: expect.stringMatching(/^3\./),
  });
  expect(versions['host']).toMatch(/^sha256:/);
});
