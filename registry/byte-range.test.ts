import { describe, expect, it } from 'vitest';
import { parseChunkRange, parseRange } from './byte-range.ts';

describe('a Range header for 100 bytes', () => {
  it.each([
    [undefined, 'whole'],
    ['bytes=0-9', { start: 0, end: 9 }],
    ['bytes=90-', { start: 90, end: 99 }],
    ['bytes=90-5000', { start: 90, end: 99 }],
    ['bytes=-10', { start: 90, end: 99 }],
    ['bytes=-5000', { start: 0, end: 99 }],
    ['bytes=99-99', { start: 99, end: 99 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=9-0', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=99999999999999999999-', 'unsatisfiable'],
    ['bytes=-', 'whole'],
    ['bytes=0-1,5-6', 'whole'],
    ['lines=0-1', 'whole'],
    ['bytes=a-b', 'whole'],
  ])('%s gives %j', (header, expected) => {
    expect(parseRange(header, 100)).toEqual(expected);
  });

  it('of nothing cannot be satisfied', () => {
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable');
    expect(parseRange('bytes=-1', 0)).toBe('unsatisfiable');
  });
});

it.each([
  ['0-9', { start: 0, end: 9 }],
  ['5-5', { start: 5, end: 5 }],
  ['9-0', undefined],
  ['bytes 0-9/10', undefined],
  ['0-', undefined],
  ['-9', undefined],
  ['1e3-2e3', undefined],
  ['0-9999999999999999', undefined],
])('the range %s of a chunk is read as %j', (header, expected) => {
  expect(parseChunkRange(header)).toEqual(expected);
});
