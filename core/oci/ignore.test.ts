import { describe, expect, it } from 'vitest';
import { DEFAULT_IGNORE, parseIgnore } from './ignore.ts';

describe('parseIgnore', () => {
  it.each<[string, string, boolean, boolean]>([
    ['*.log', 'a.log', false, true],
    ['*.log', 'a/b.log', false, true],
    ['*.log', 'a.logs', false, false],
    ['/a', 'a', false, true],
    ['/a', 'b/a', false, false],
    ['a/b', 'a/b', false, true],
    ['a/b', 'x/a/b', false, false],
    ['dist/', 'dist', true, true],
    ['dist/', 'dist', false, false],
    ['dist/', 'x/dist', true, true],
    ['**/x', 'a/b/x', false, true],
    ['**/x', 'x', false, true],
    ['a/**/x', 'a/x', false, true],
    ['a/**/x', 'a/b/c/x', false, true],
    ['a/**', 'a/b/c', false, true],
    ['a/**', 'a', true, false],
    ['a?c', 'abc', false, true],
    ['a?c', 'a/c', false, false],
    ['*.ts\n!keep.ts', 'keep.ts', false, false],
    ['*.ts\n!keep.ts', 'drop.ts', false, true],
    ['# a\n\na  ', 'a', false, true],
    ['\\#a', '#a', false, true],
    ['*.[ch]', 'a.c', false, true],
    ['A', 'a', false, false],
    ['a\r\nb', 'a', false, true],
    ['a/\n!a/keep', 'a/keep', false, true],
    ['a/*\n!a/keep', 'a/keep', false, false],
    ['a+(b)', 'a+(b)', false, true],
    ['a.b', 'axb', false, false],
  ])('%j of %s (folder: %s): %s', (text, path, isDirectory, expected) => {
    expect(parseIgnore(text, 'it')(path, isDirectory)).toBe(expected);
  });

  it.each<[string, boolean, boolean]>([
    ['Pulumi.yaml', false, false],
    ['Pulumi.prod.yaml', false, true],
    ['infra/Pulumi.prod.yaml', false, true],
    ['.env', false, true],
    ['.env.local', false, true],
    ['.npmrc', false, true],
    ['node_modules', true, true],
    ['lib/node_modules', true, true],
    ['.git', true, true],
    ['.gitignore', false, false],
    ['index.ts', false, false],
  ])('by default %s (folder: %s) is left out: %s', (path, isDirectory, expected) => {
    expect(parseIgnore(DEFAULT_IGNORE, 'it')(path, isDirectory)).toBe(expected);
  });

  it.each([['**/a/**/a/**/a/**/b'], ['*a*a*a*a*b'], ['x\n'.repeat(1_001)], ['x'.repeat(65 * 1024)]])(
    'refuses what would take too long: %#',
    (text) => {
      expect(() => parseIgnore(text, 'spec.source.ignore')).toThrow(
        expect.objectContaining({ reason: 'SpecInvalid', message: expect.stringContaining('spec.source.ignore') }),
      );
    },
  );
});
