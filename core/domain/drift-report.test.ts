import { describe, expect, it } from 'vitest';
import type { DriftItem } from '../engine/port.ts';
import { otherPlace } from './drift-principal.ts';
import { counting, driftMessage, findings } from './drift-report.ts';

const now = new Date('2026-11-24T12:00:00Z');
const URN = 'urn:pulumi:prod::shop::t:T::web';
const item = (change: Partial<DriftItem> = {}): DriftItem => ({
  urn: URN,
  type: 't:T',
  path: 'size',
  kind: 'changed',
  before: 1,
  after: 9,
  ...change,
});
const rule = { path: 'tags', reason: 'a scanner', expires: '2026-12-01T00:00:00Z' };

describe('what a check found', () => {
  it('is told once a property: the live world before the program', () => {
    const found = findings([item(), item({ kind: 'pending-change', before: 9, after: 1 })], {
      known: [],
      rules: [],
      now,
    });
    expect(found).toEqual([item()]);
  });

  it('of a heal that was not applied stays the same drift, though the state holds the live value already', () => {
    const known = [{ urn: URN, path: 'size', kind: 'changed', before: 1 }];
    const pending = item({ kind: 'pending-change', before: 9, after: 1 });
    expect(findings([pending], { known, rules: [], now })).toEqual([item()]);
    expect(findings([pending], { known: [], rules: [], now })).toEqual([pending]);
    const other = item({ kind: 'pending-change', before: 9, after: 5 });
    expect(findings([other], { known, rules: [], now })).toEqual([other]);
  });

  it('and is ignored does not count, until the rule runs out', () => {
    const items = [item(), item({ path: 'tags.seen' })];
    const found = findings(items, { known: [], rules: [rule], now });
    expect(counting(found).map(({ path }) => path)).toEqual(['size']);
    const later = findings(items, { known: [], rules: [rule], now: new Date('2026-12-01T00:00:00Z') });
    expect(counting(later)).toHaveLength(2);
  });
});

it.each<[DriftItem[], number, string]>([
  [[], 0, 'the live world agrees with the last applied state'],
  [[item()], 0, '1 differences: web.size'],
  [[item({ kind: 'missing', path: '' })], 0, '1 differences: web (missing)'],
  [
    [],
    2,
    'the live world agrees with the last applied state; 2 values only changed their form, or follow from others (noise)',
  ],
  [
    [item({ path: 'tags' }), item()],
    1,
    '1 differences: web.size; 1 ignored until 2026-12-01T00:00:00.000Z; 1 values only changed their form, or follow from others (noise)',
  ],
])('the message says what counts, what is ignored until when, and what was noise', (items, noise, expected) => {
  expect(driftMessage(findings(items, { known: [], rules: [rule], now }), noise)).toBe(expected);
});

it('a message names the first of many', () => {
  const many = Array.from({ length: 8 }, (_, index) => item({ path: `p${index}` }));
  expect(driftMessage(many, 0)).toBe('8 differences: web.p0, web.p1, web.p2, web.p3, web.p4 and 3 more');
});

const applied = 'aws 123456789012 arn:aws:iam::123456789012:role/deploy eu-central-1';
it.each<[string, string | null, string | undefined, string | undefined]>([
  ['the same', applied, applied, undefined],
  [
    'another role of the account',
    applied,
    'aws 123456789012 arn:aws:iam::123456789012:role/look eu-central-1',
    undefined,
  ],
  ['another account', applied, 'aws 999999999999 arn:x eu-central-1', '999999999999'],
  ['another region', applied, 'aws 123456789012 arn:x us-east-1', 'us-east-1'],
  ['another cloud', applied, 'gcp 123456789012 sa eu-central-1', 'gcp'],
  ['a region that is not known', applied, 'aws 123456789012 arn:x', undefined],
  ['nothing known of the apply', null, applied, undefined],
  ['nothing known of the check', applied, undefined, undefined],
])('where a check looks beside where was applied: %s', (_, before, after, named) => {
  const said = otherPlace(before, after);
  if (named === undefined) expect(said).toBeUndefined();
  else expect(said).toContain(named);
});
