import { expect, it } from 'vitest';
import { planFileHash, plannedResources } from './plan-file.ts';

const plan = (more: object) =>
  Buffer.from(JSON.stringify({ manifest: { time: 'now', magic: 'm', version: 'v3' }, resourcePlans: {}, ...more }));

it('hashes two copies of one plan alike, whatever their time, magic and order of keys', () => {
  const copy = Buffer.from(
    JSON.stringify({ resourcePlans: {}, manifest: { version: 'v3', magic: 'other', time: 'later' } }, null, 2),
  );
  expect(planFileHash(copy)).toBe(planFileHash(plan({})));
});

it.each([
  ['the engine version', { manifest: { version: 'v4' } }],
  ['a resource', { resourcePlans: { urn: { steps: ['create'] } } }],
  ['the config', { config: { a: 1 } }],
])('hashes plans apart that differ in %s', (_name, more) => {
  expect(planFileHash(plan(more))).not.toBe(planFileHash(plan({})));
});

it('refuses bytes that are no plan', () => {
  expect(() => planFileHash(Buffer.from('[]'))).toThrow('no update plan');
  expect(() => planFileHash(Buffer.from('{'))).toThrow('JSON');
});

it('names the inputs that change', () => {
  const resourcePlans = {
    a: { goal: { inputDiff: { adds: { x: 1 }, updates: { text: { ciphertext: '…' } } } } },
    b: { steps: ['delete'] },
  };
  expect(plannedResources(plan({ resourcePlans })).map(({ urn, changed }) => [urn, changed])).toEqual([
    ['a', ['text']],
    ['b', []],
  ]);
});
