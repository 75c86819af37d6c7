import { expect, it } from 'vitest';
import type { DriftItemView } from '#core/domain/view.ts';
import { renderDrift } from './render-drift.ts';

const now = new Date('2026-11-24T12:00:00Z');
const item = (change: Partial<DriftItemView>): DriftItemView => ({
  urn: 'urn:pulumi:prod::shop::t:T::web',
  path: 'size',
  type: 't:T',
  kind: 'changed',
  before: 1,
  after: 9,
  ignoredUntil: null,
  ignoredReason: null,
  firstSeenAt: '2026-11-24T11:00:00.000Z',
  lastSeenAt: '2026-11-24T12:00:00.000Z',
  ageSeconds: 3600,
  ...change,
});

it('tells what counts first, and of what is ignored until when and why', () => {
  const ignored = item({ path: 'seen', ignoredUntil: '2026-12-01T00:00:00.000Z', ignoredReason: 'a scanner\u001b[2J' });
  const [first, second] = renderDrift([ignored, item({})], now).split('\n');
  expect(first).toMatch(/size: 1 → 9, for/);
  expect(second).toContain('ignored until 2026-12-01T00:00:00.000Z: a scanner\\u{1b}[2J');
});

it.each([
  [['a', { b: 1, c: 2 }], [{ c: 2, b: 1 }, 'a'], true],
  [['a', 'a', 'b'], ['a', 'b', 'b'], false],
  [['a'], 'a', false],
])('a list in another order is told as reordered: %j and %j', (before, after, expected) => {
  expect(renderDrift([item({ before, after })], now).includes('(only reordered)')).toBe(expected);
});
