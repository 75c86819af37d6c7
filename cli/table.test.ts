import { describe, expect, it } from 'vitest';
import { age, renderTable, shortRevision } from './table.ts';

describe('renderTable', () => {
  it('makes columns as wide as their widest cell', () => {
    expect(
      renderTable(
        ['A', 'B'],
        [
          ['long', 'x'],
          ['y', 'z'],
        ],
        'none',
      ),
    ).toBe('A     B\nlong  x\ny     z');
  });

  it('says so when there is nothing', () => {
    expect(renderTable(['A'], [], 'none')).toBe('none');
  });
});

describe('age', () => {
  it.each([
    [5, '5s'],
    [119, '119s'],
    [17 * 60 + 59, '17m'],
    [5 * 3600, '5h'],
    [3 * 86_400, '3d'],
    [-10, '0s'],
  ])('of %d seconds is %s', (seconds, text) => {
    const now = new Date('2026-01-31T00:00:00Z');
    expect(age(new Date(now.getTime() - seconds * 1000).toISOString(), now)).toBe(text);
  });
});

describe('shortRevision', () => {
  it.each([
    [`main@sha256:${'ab'.repeat(32)}`, 'main@abababababab'],
    [`sha256:${'0'.repeat(64)}`, '000000000000'],
    ['-', '-'],
  ])('of %s', (revision, short) => {
    expect(shortRevision(revision)).toBe(short);
  });
});
