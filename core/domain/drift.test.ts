import { describe, expect, it } from 'vitest';
import type { DriftItem } from '../engine/port.ts';
import { healable, healVerdict, isHealAsked, suspectsCredentials, type Heal } from './drift.ts';
import type { Finding } from './drift-report.ts';

const urn = (index: number) => `urn:pulumi:prod::shop::t:T::r${index}`;

function items(kind: DriftItem['kind'], count: number): Finding[] {
  return Array.from({ length: count }, (_, index) => ({
    urn: urn(index),
    type: 't',
    path: kind === 'changed' ? 'p' : '',
    kind,
    before: 1,
    after: 9,
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

describe('what is healed by itself', () => {
  const heals = (count: number): Heal[] =>
    Array.from({ length: count }, (_, index) => ({
      urn: urn(0),
      path: 'p',
      found: [7, 8, 7, 8][index],
      wanted: 1,
      healed_at: new Date(Date.UTC(2026, 10, 24, index)),
    }));
  const ignored = { until: new Date('2027-01-01'), reason: 'known' };

  it.each<[string, Finding[], number, string]>([
    ['a changed property', items('changed', 1), 0, 'heal'],
    ['one that was healed twice', items('changed', 1), 2, 'heal'],
    ['not one that was healed three times', items('changed', 1), 3, 'loop'],
    ['nothing that is missing', items('missing', 2), 0, 'nothing'],
    ['nothing the program would change', items('pending-change', 2), 0, 'nothing'],
    ['nothing that is ignored', items('changed', 1).map((item) => ({ ...item, ignored })), 0, 'nothing'],
    [
      'nothing where something else wrote the state',
      [...items('changed', 1), ...items('state-moved', 1)],
      0,
      'nothing',
    ],
  ])('%s', (_, found, healed, type) => {
    expect(healVerdict(found, heals(healed)).type).toBe(type);
  });

  it('no resource of which a property is ignored, because a heal sets back all of them', () => {
    const both = [...items('changed', 2), { ...items('changed', 1)[0]!, path: 'q', ignored }];
    expect(healable(both, (item) => item.ignored !== undefined).map((item) => item.urn)).toEqual([urn(1)]);
  });

  it('a loop names the property, the values that alternate and the times', () => {
    const verdict = healVerdict(items('changed', 1), heals(3));
    expect(verdict).toMatchObject({ type: 'loop' });
    expect(JSON.stringify(verdict)).toMatch(
      /r0\.p was healed 3 times .* sets it to 7, 8, 9, each heal to 1 \(at 2026-11-24T00:00:00\.000Z, 2026-11-24T01/,
    );
  });
});

it.each<[string, Parameters<typeof isHealAsked>, boolean]>([
  ['never asked before', [undefined, false, []], false],
  ['a heal waits for a person', [{ state: 'awaiting_approval', createdAt: new Date(5) }, true, [new Date(9)]], true],
  [
    'one was discarded and nothing is new',
    [{ state: 'discarded', createdAt: new Date(5) }, false, [new Date(4)]],
    true,
  ],
  ['one was discarded and more drifted', [{ state: 'discarded', createdAt: new Date(5) }, false, [new Date(9)]], false],
  ['one failed', [{ state: 'errored', createdAt: new Date(5) }, false, [new Date(4)]], false],
  ['one was applied and it drifted again', [{ state: 'applied', createdAt: new Date(5) }, false, [new Date(4)]], false],
])('a heal that %s is asked already: %j', (_, input, expected) => {
  expect(isHealAsked(...input)).toBe(expected);
});
