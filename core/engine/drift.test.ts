import { expect, it } from 'vitest';
import { liveDrift, pendingChanges, refreshedResources } from './drift.ts';
import { newPhase, type Phase, type StepMetadata } from './events.ts';

const URN = 'urn:pulumi:prod::shop::pulumi-nodejs:dynamic:Resource::role';
const TYPE = 'pulumi-nodejs:dynamic:Resource';
const secret = { '4dabf18193072939515e22adb298388d': '1b47061264138c4ac30d75fd1eb44270', ciphertext: '[secret]' };

function result(op: string, before: Record<string, unknown>, after?: Record<string, unknown>): StepMetadata {
  const state = (outputs: Record<string, unknown>) => ({ urn: URN, type: TYPE, outputs });
  return { op, urn: URN, type: TYPE, old: state(before), new: after === undefined ? null : state(after) };
}

const refreshed = (...outputs: StepMetadata[]): Phase => ({ ...newPhase(), outputs, ended: true });

it('reports each property that differs from the state, old and new', () => {
  expect(liveDrift(refreshed(result('update', { login: true, limit: 5 }, { login: false, limit: 5 }))).items).toEqual([
    { urn: URN, type: TYPE, path: 'login', kind: 'changed', before: true, after: false },
  ]);
});

it('reports a resource that is gone as missing', () => {
  expect(liveDrift(refreshed(result('delete', { login: true }))).items).toEqual([
    { urn: URN, type: TYPE, path: '', kind: 'missing' },
  ]);
});

it('reports a resource of which only a secret differs, without a value', () => {
  expect(liveDrift(refreshed(result('update', { password: secret }, { password: secret }))).items).toEqual([
    { urn: URN, type: TYPE, path: '', kind: 'changed' },
  ]);
});

it('reports nothing for resources that agree, nor for the code of a dynamic provider', () => {
  const same = result('same', { login: true }, { login: true });
  const code = result('update', { __provider: 'a', login: 1 }, { __provider: 'b', login: 2 });
  const { items, noise } = liveDrift(refreshed(same, code));
  expect(items.map((item) => item.path)).toEqual(['login']);
  expect(noise).toBe(0);
  expect(refreshedResources(refreshed(same, code))).toBe(2);
});

it('counts what only changed its form, and outputs whose provider sees no difference, and lists neither', () => {
  const forms = result(
    'update',
    { port: '80', size: 1, policy: '{"a":1}' },
    { port: 80, size: 2, policy: '{ "a": 1 }' },
  );
  const same = result('same', { seen: 'monday', size: 1 }, { seen: 'tuesday', size: 1 });
  const { items, noise } = liveDrift(refreshed(forms, same));
  expect(items.map((item) => item.path)).toEqual(['size']);
  expect(noise).toBe(3);
});

it('believes a provider that names paths: outputs that follow from them are no drift of their own', () => {
  const step = {
    ...result(
      'update',
      { text: 'one', size: 3, tags: { a: 1, b: 2 } },
      { text: 'three', size: 5, tags: { a: 1, b: 3 } },
    ),
    detailedDiff: {
      text: { diffKind: 'update', inputDiff: false },
      'tags.b': { diffKind: 'update', inputDiff: false },
    },
  };
  expect(liveDrift(refreshed(step))).toEqual({
    items: [
      { urn: URN, type: TYPE, path: 'text', kind: 'changed', before: 'one', after: 'three' },
      { urn: URN, type: TYPE, path: 'tags.b', kind: 'changed', before: 2, after: 3 },
    ],
    noise: 1,
  });
});

it('names a changed secret where the provider names it, and shows neither value', () => {
  const step = { ...result('update', { password: secret, n: 1 }, { password: secret, n: 1 }), diffs: ['password'] };
  expect(liveDrift(refreshed(step)).items).toEqual([
    { urn: URN, type: TYPE, path: 'password', kind: 'changed', before: '[secret]', after: '[secret]' },
  ]);
});

it('compares with the inputs where a refresh that was cut off has moved the outputs already', () => {
  const state = (inputs: object, outputs: object) => ({
    urn: URN,
    type: TYPE,
    inputs: { ...inputs },
    outputs: { ...outputs },
  });
  const step = {
    ...result('update', {}),
    old: state({ size: 1 }, { size: 9 }),
    new: state({ size: 1 }, { size: 9 }),
    detailedDiff: { size: { diffKind: 'update', inputDiff: false } },
  };
  expect(liveDrift(refreshed(step)).items).toEqual([
    { urn: URN, type: TYPE, path: 'size', kind: 'changed', before: 1, after: 9 },
  ]);
});

it('of a resource with thousands of differences it tells the first, and how many more there are', () => {
  const many = (value: number) => Object.fromEntries(Array.from({ length: 5_000 }, (_, at) => [`p${at}`, value]));
  const { items } = liveDrift(refreshed(result('update', many(1), many(2))));
  expect(items).toHaveLength(201);
  expect(items.at(-1)).toMatchObject({ path: '', after: '4800 more properties' });
});

it('reports what an apply would still change: properties of updates, else the operation', () => {
  const base = { urn: URN, type: TYPE, name: 'role', lostProtection: false, isProvider: false, unknowns: [] };
  const diff = { path: 'limit', kind: 'update' as const, replaces: false, before: 1, after: 2 };
  expect(
    pendingChanges([
      { ...base, op: 'update', diffs: [diff] },
      { ...base, op: 'delete', diffs: [] },
    ]),
  ).toEqual([
    { urn: URN, type: TYPE, path: 'limit', kind: 'pending-change', before: 1, after: 2 },
    { urn: URN, type: TYPE, path: '', kind: 'pending-change', after: 'delete' },
  ]);
});
