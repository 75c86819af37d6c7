import { expect, it } from 'vitest';
import type { DriftItem } from '../engine/port.ts';
import { healVerdict, suspectsCredentials } from './drift.ts';

function items(kind: DriftItem['kind'], count: number): DriftItem[] {
  return Array.from({ length: count }, (_, index) => ({
    urn: `urn::${index}`,
    type: 't',
    path: kind === 'missing' ? '' : 'p',
    kind,
  }));
}

it.each([
  [2, 10, false],
  [3, 15, false],
  [3, 14, true],
  [2, 2, false],
  [10, 10, true],
])('%d missing of %d resources: credentials suspected = %s', (missing, resources, expected) => {
  expect(suspectsCredentials({ items: items('missing', missing), resources })).toBe(expected);
});

it('heals changed resources, never missing ones, and stops after three heals of one property', () => {
  expect(healVerdict(items('missing', 2), [])).toEqual({ type: 'nothing' });
  expect(healVerdict(items('changed', 1), [])).toEqual({ type: 'heal' });
  const heals = Array.from({ length: 3 }, () => ({ urn: 'urn::0', path: 'p' }));
  expect(healVerdict(items('changed', 1), heals)).toEqual({ type: 'loop', property: '0.p' });
});
