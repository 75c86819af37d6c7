import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { covers, formatScopes, mergeScopes, parseScopes } from './auth-scopes.ts';

describe('scopes', () => {
  it.each<[string, string[]]>([
    ['', []],
    ['repository:a/b:pull', ['repository:a/b:pull']],
    ['repository:a/b:push,pull', ['repository:a/b:pull,push']],
    ['repository:a/b:pull repository:a/b:pull,push', ['repository:a/b:pull,push']],
    ['repository:a/b:pull repository:a/b:*', ['repository:a/b:*']],
    ['repository:b:pull repository:a:pull', ['repository:a:pull', 'repository:b:pull']],
    ['aws repository:a:pull', ['aws', 'repository:a:pull']],
  ])('%s are %j', (text, expected) => {
    expect(formatScopes(parseScopes(text))).toEqual(expected);
  });

  it.each<[string, string, boolean]>([
    ['repository:a:pull,push', 'repository:a:pull', true],
    ['repository:a:pull', 'repository:a:pull,push', false],
    ['repository:a:*', 'repository:a:pull,push', true],
    ['repository:a:pull', 'repository:b:pull', false],
    ['repository:a:pull repository:b:pull', 'repository:b:pull', true],
    ['repository:a:pull', '', true],
  ])('%s cover %s: %s', (held, wanted, expected) => {
    expect(covers(parseScopes(held), parseScopes(wanted))).toBe(expected);
  });

  it('that were merged cover each of their parts', () => {
    const scope = fc
      .tuple(
        fc.constantFrom('repository:a', 'repository:b/c'),
        fc.subarray(['pull', 'push', 'delete', '*'], { minLength: 1 }),
      )
      .map(([resource, actions]) => `${resource}:${actions.join(',')}`);
    fc.assert(
      fc.property(scope, scope, (one, other) => {
        const merged = mergeScopes(parseScopes(one), parseScopes(other));
        expect(covers(merged, parseScopes(one)) && covers(merged, parseScopes(other))).toBe(true);
      }),
    );
  });
});
