import { expect, it } from 'vitest';
import { requireUnmasked, unmasked } from './masked.ts';
import { plannedResources, UNKNOWN } from './plan-file.ts';

const secret = { ciphertext: 'v1:abc' };
const resource = { urn: 'x', inputs: { size: 1, password: '[secret]', nested: { key: ['[secret]'] } } };

it('takes masked inputs from the plan, as the ciphertext they are there', () => {
  const inputDiff = { adds: { password: secret }, updates: { nested: { key: [secret] } }, deletes: ['gone'] };
  const plan = Buffer.from(JSON.stringify({ resourcePlans: { x: { goal: { inputDiff } } } }));
  const filled = unmasked(
    resource,
    plannedResources(plan).map(({ inputs }) => inputs),
  );
  expect(filled).toEqual({ urn: 'x', inputs: { size: 1, password: secret, nested: { key: [secret] } } });
  expect(requireUnmasked(filled)).toBe(filled);
});

it.each([
  ['nothing knows', []],
  ['the plan did not know yet', [{ password: UNKNOWN, nested: {} }]],
])('refuses a secret that %s', (_name, sources) => {
  expect(() => requireUnmasked(unmasked(resource, sources))).toThrow('Delete it by hand and answer clear');
});
