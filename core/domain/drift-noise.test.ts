import { describe, expect, it } from 'vitest';
import { noiseOf, type Noise } from './drift-noise.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----';

describe('a value that only changed its form is noise', () => {
  it.each<[Noise, unknown, unknown]>([
    ['absent', undefined, null],
    ['empty', undefined, []],
    ['empty', null, {}],
    ['empty', '', undefined],
    ['scalar', '80', 80],
    ['scalar', 1.5, '1.5'],
    ['scalar', true, 'true'],
    ['json', '{"a":1,"b":[1,2]}', ' { "b": [1, 2],\n "a": 1 }\n'],
    ['json', '{"s":"x\\u0041"}', '{"s":"xA"}'],
    ['json', '[]', '[ ]'],
    ['timestamp', '2026-11-24T12:00:00Z', '2026-11-24T12:00:00.000Z'],
    ['timestamp', '2026-11-24T12:00:00.120Z', '2026-11-24T13:00:00.12+01:00'],
    ['ipv6', '2001:DB8::1', '2001:db8:0:0:0:0:0:1'],
    ['ipv6', '2001:db8:0::/32', '2001:db8::/32'],
    ['pem', PEM, `${PEM}\n`],
  ])('%s: %j and %j', (rule, before, after) => {
    expect(noiseOf(before, after, { path: 'value', named: false })).toBe(rule);
    expect(noiseOf(after, before, { path: 'value', named: false })).toBe(rule);
  });

  it('yaml, where the name of the property says that it is a document', () => {
    const [one, other] = ['a: 1\nb:\n  - x\n', '# note\nb: [x]\na: 1'];
    expect(noiseOf(one, other, { path: 'spec.policyDocument', named: true })).toBe('yaml');
    expect(noiseOf(one, other, { path: 'data.notes', named: true })).toBeUndefined();
  });
});

describe('what may mean something is drift', () => {
  it.each<[unknown, unknown]>([
    ['080', 80],
    ['1e3', 1000],
    ['True', true],
    [1, true],
    ['1', true],
    [0, undefined],
    [false, undefined],
    ['', []],
    [{}, []],
    [null, [null]],
    ['{"a":[1,2]}', '{"a":[2,1]}'],
    ['{"a":1}', '{"a":"1"}'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['{"a":12345678901234567890}', '{"a":12345678901234567891}'],
    ['{"a":1}', { a: 1 }],
    ['{not json', '{not  json'],
    ['arn:aws:iam::1:role/Admin', 'arn:aws:iam::1:role/admin'],
    ['2026-11-24T12:00:00Z', '2026-11-24T12:00:01Z'],
    ['2026-11-24T12:00:00.1234567891Z', '2026-11-24T12:00:00.1234567892Z'],
    ['2026-11-24 12:00:00', '2026-11-24T12:00:00Z'],
    ['2026-11-24', '2026-11-24T00:00:00Z'],
    ['10.0.0.1/24', '10.0.0.0/24'],
    ['10.0.0.1', '10.0.0.1/32'],
    ['2001:db8::1/64', '2001:db8::/64'],
    ['secret', 'secret\n'],
    ['a', 'A'],
    [PEM, PEM.replace('MIIB', 'MIIC')],
    ['a\nb', 'a\nb\n'],
  ])('%j and %j', (before, after) => {
    expect(noiseOf(before, after, { path: 'value', named: false })).toBeUndefined();
    expect(noiseOf(after, before, { path: 'value', named: false })).toBeUndefined();
  });

  it.each<[unknown, unknown]>([
    [undefined, {}],
    [[], undefined],
    ['', null],
  ])('%j and %j, where the provider itself tells them apart', (before, after) => {
    expect(noiseOf(before, after, { path: 'volume.emptyDir', named: true })).toBeUndefined();
  });
});

it('is quick about a hostile document', () => {
  const deep = '['.repeat(50_000) + ']'.repeat(50_000);
  const bomb = `a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c]\ne: [*d,*d,*d,*d]\n`;
  const started = performance.now();
  for (const text of [deep, bomb, '"'.repeat(200_000), `{${'"a":'.repeat(50_000)}`])
    noiseOf(text, `${text} `, { path: 'policy', named: false });
  expect(performance.now() - started).toBeLessThan(2_000);
});
