import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ignoredBy, ignoreErrors, matchesGlob, type Ignorable } from './drift-ignore.ts';
import type { DriftIgnore } from './manifest.ts';

const now = new Date('2026-11-24T12:00:00Z');
const item: Ignorable = {
  urn: 'urn:pulumi:prod::shop::aws:ec2/instance:Instance::web-1',
  type: 'aws:ec2/instance:Instance',
  path: 'tags.lastScan',
  kind: 'changed',
};
const rule = (change: Partial<DriftIgnore>): DriftIgnore => ({
  reason: 'the scanner writes it',
  expires: '2026-12-01T00:00:00Z',
  ...change,
});

describe('a rule matches', () => {
  it.each<Partial<DriftIgnore>>([
    { urn: item.urn },
    { urn: 'web-1' },
    { urn: 'web-*' },
    { urn: '*:Instance::web-1' },
    { type: 'aws:ec2/*' },
    { path: 'tags' },
    { path: 'tags.lastScan' },
    { path: 'tags.*' },
    { urn: 'web-1', type: 'aws:*', path: 'tags' },
  ])('%j', (change) => {
    expect(ignoredBy(item, [rule(change)], now)).toEqual({
      until: new Date('2026-12-01T00:00:00Z'),
      reason: 'the scanner writes it',
    });
  });

  it('a place in a list, and everything below it', () => {
    expect(ignoredBy({ ...item, path: 'rules[3].port' }, [rule({ path: 'rules[*].port' })], now)).toBeDefined();
    expect(ignoredBy({ ...item, path: 'rules[3].port' }, [rule({ path: 'rules' })], now)).toBeDefined();
  });
});

describe('a rule does not match', () => {
  it.each<[string, Partial<DriftIgnore>]>([
    ['another name', { urn: 'web-10' }],
    ['a part of a name', { urn: 'eb-1' }],
    ['another type', { type: 'aws:rds/*' }],
    ['a type that only begins alike', { type: 'aws:ec2/instance' }],
    ['a longer name of a property', { path: 'tag' }],
    ['one of three that differs', { urn: 'web-1', type: 'aws:*', path: 'ami' }],
    ['nothing named at all', {}],
    ['one that has run out', { urn: 'web-1', expires: '2026-11-24T12:00:00Z' }],
  ])('%s', (_, change) => {
    expect(ignoredBy(item, [rule(change)], now)).toBeUndefined();
  });

  it('a whole resource by a property, nor ever a state that something else wrote', () => {
    expect(ignoredBy({ ...item, kind: 'missing', path: '' }, [rule({ path: '*' })], now)).toBeUndefined();
    expect(ignoredBy({ ...item, kind: 'state-moved', path: '' }, [rule({ urn: '*' })], now)).toBeUndefined();
  });
});

it('of several rules the one that lasts longest holds', () => {
  const rules = [rule({ urn: 'web-1' }), rule({ type: 'aws:*', expires: '2027-01-01T00:00:00Z', reason: 'longer' })];
  expect(ignoredBy(item, rules, now)?.reason).toBe('longer');
});

it.each<[Partial<DriftIgnore>, string[]]>([
  [{ urn: 'web-1' }, []],
  [{ urn: 'web-1', expires: '2027-11-24T11:00:00Z' }, []],
  [{}, ['spec/drift/ignore/0']],
  [{ path: 'tags', expires: '2026-11-24T11:59:59Z' }, []],
  [{ path: 'tags', expires: '2028-01-01T00:00:00Z' }, ['spec/drift/ignore/0/expires']],
])('what is applied now and wrong: %j', (change, paths) => {
  expect(ignoreErrors([rule(change)], now).map((error) => error.path)).toEqual(paths);
});

it('a pattern is matched as a regular expression would be, in time that does not explode', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', ':', '*'), maxLength: 12 });
  fc.assert(
    fc.property(text, text, (pattern, value) => {
      const expression = pattern.split('*').map(RegExp.escape).join('[^]*');
      expect(matchesGlob(pattern, value)).toBe(new RegExp(`^${expression}$`).test(value));
    }),
  );
  const started = performance.now();
  expect(matchesGlob(`${'a*'.repeat(500)}b`, 'a'.repeat(4000))).toBe(false);
  expect(performance.now() - started).toBeLessThan(500);
});
