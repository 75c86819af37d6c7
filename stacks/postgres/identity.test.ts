import { describe, expect, it } from 'vitest';
import { changedProperties, joinId, nameProblem, splitId } from './identity.ts';

describe('joinId', () => {
  it.each([[['shop', 'orders', 'reader']], [['a/b', '', 'ü %2F']], [['one']]])('gives %j back', (parts) => {
    expect(splitId(joinId(parts))).toEqual(parts);
  });
});

describe('nameProblem', () => {
  it.each([
    ['shop', undefined],
    ['with "quotes" and spaces', undefined],
    ['', 'must be a name'],
    ['x'.repeat(64), 'is longer than the 63 bytes PostgreSQL keeps'],
    ['ü'.repeat(32), 'is longer than the 63 bytes PostgreSQL keeps'],
    ['a\0b', 'holds a NUL character'],
  ])('of %j is %j', (name, problem) => {
    expect(nameProblem(name)).toBe(problem);
  });
});

describe('changedProperties', () => {
  it('names exactly what differs, lists included, and looks at nothing else', () => {
    const changed = changedProperties({ a: 1, b: ['x'], c: 1 }, { a: 1, b: ['y'], c: 2 }, ['a', 'b']);
    expect(changed).toEqual(['b']);
  });
});
