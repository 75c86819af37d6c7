import { expect, it } from 'vitest';
import { median, quantile, ratioLine, ratioOf, type Compared } from './statistics.ts';

it.each([
  { values: [3, 1, 2], expected: 2 },
  { values: [4, 1, 3, 2], expected: 2.5 },
  { values: [7], expected: 7 },
])('the median of $values is $expected', ({ values, expected }) => {
  expect(median(values)).toBe(expected);
});

const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);

it.each([
  { share: 0.99, expected: 99 },
  { share: 1, expected: 100 },
  { share: 0, expected: 1 },
])('the quantile $share of 1 to 100 is $expected', ({ share, expected }) => {
  expect(quantile(hundred, share)).toBe(expected);
});

it('nothing measured is an error, never a ratio', () => {
  expect(() => median([])).toThrow('nothing');
});

const compared: Compared = {
  key: 'x',
  name: 'ours ÷ theirs',
  ours: [1, 3, 2],
  peer: [2, 4, 8],
  figure: 'median',
  note: 'why',
};

it('divides our figure by the one of the peer', () => {
  expect(ratioOf(compared)).toEqual({ ours: 2, peer: 4, ratio: 0.5 });
  expect(ratioOf({ ...compared, figure: 'p99' }).ratio).toBe(3 / 8);
});

it('says what sizes are measured in', () => {
  expect(ratioLine({ ...compared, unit: 'MiB' })).toContain('(median 2.0 MiB : 4.0 MiB, ');
});

it('shows how far the ratios of neighbours lie apart', () => {
  expect(ratioLine(compared)).toContain(
    '0.50  ours ÷ theirs (median 2.0 ms : 4.0 ms, pairs 0.25 to 0.75, 3 : 3 samples; why)',
  );
});
