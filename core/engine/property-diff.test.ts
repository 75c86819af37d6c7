import { describe, expect, it } from 'vitest';
import { UNKNOWN } from './plan-file.ts';
import { diffProperties, isReordered, SECRET, shown, splitPath, unknownPaths, valueAt } from './property-diff.ts';

const secret = { '4dabf18193072939515e22adb298388d': '1b47061264138c4ac30d75fd1eb44270', ciphertext: '[secret]' };

describe('property paths', () => {
  it.each([
    ['tags', ['tags']],
    ['tags.team', ['tags', 'team']],
    ['rules[0].port', ['rules', '0', 'port']],
    ['tags["a.b"].c', ['tags', 'a.b', 'c']],
    [String.raw`tags["say \"hi\""]`, ['tags', 'say "hi"']],
  ])('%s is read part by part', (path, parts) => {
    expect(splitPath(path)).toEqual(parts);
  });

  it('finds a value below lists and quoted keys, and nothing where there is none', () => {
    const properties = { rules: [{ port: 80 }], tags: { 'a.b': 1 } };
    expect(valueAt(properties, 'rules[0].port')).toBe(80);
    expect(valueAt(properties, 'tags["a.b"]')).toBe(1);
    expect(valueAt(properties, 'rules[3].port')).toBeUndefined();
    expect(valueAt(undefined, 'rules')).toBeUndefined();
    expect(shown(valueAt({ login: secret }, 'login.password'))).toBe(SECRET);
  });
});

describe('differences of properties', () => {
  it('names each leaf that was added, changed or removed, and no other', () => {
    const before = { same: 1, changed: 'a', gone: true, list: [1, 2], nested: { 'x.y': 1 } };
    const after = { same: 1, changed: 'b', list: [1, 3, 4], nested: { 'x.y': 2 }, fresh: null };
    expect(diffProperties(before, after)).toEqual([
      { path: 'changed', kind: 'update', replaces: false, before: 'a', after: 'b' },
      { path: 'gone', kind: 'delete', replaces: false, before: true },
      { path: 'list[1]', kind: 'update', replaces: false, before: 2, after: 3 },
      { path: 'list[2]', kind: 'add', replaces: false, after: 4 },
      { path: 'nested["x.y"]', kind: 'update', replaces: false, before: 1, after: 2 },
      { path: 'fresh', kind: 'add', replaces: false, after: null },
    ]);
  });

  it.each<[string, unknown[], unknown[], string[]]>([
    ['one put in at the front', ['b', 'c'], ['a', 'b', 'c'], ['list[0]']],
    ['one taken out of the middle', ['a', 'b', 'c'], ['a', 'c'], ['list[1]']],
    ['one put in at the end', ['a'], ['a', 'b'], ['list[1]']],
    ['one changed among equals', ['a', 'b', 'a'], ['a', 'c', 'a'], ['list[1]']],
    ['two rules with one field changed', [{ p: 1 }, { p: 2 }], [{ p: 1 }, { p: 3 }], ['list[1].p']],
    ['another order, which is one difference', ['a', 'b', 'c'], ['c', 'a', 'b'], ['list']],
    ['everything gone', ['a', 'b'], [], ['list[0]', 'list[1]']],
    ['nothing', [{ a: 1, b: 2 }], [{ b: 2, a: 1 }], []],
  ])('of lists: %s', (_, before, after, paths) => {
    expect(diffProperties({ list: before }, { list: after }).map((diff) => diff.path)).toEqual(paths);
  });

  it('knows a list in another order from one that changed', () => {
    expect(isReordered([{ a: 1 }, 'x'], ['x', { a: 1 }])).toBe(true);
    for (const [before, after] of [
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
      [
        ['a', 'a', 'b'],
        ['a', 'b', 'b'],
      ],
      [['a'], ['a', 'a']],
      ['ab', 'ba'],
    ])
      expect(isReordered(before, after)).toBe(false);
  });

  it('shows a secret as [secret] and never its parts', () => {
    expect(diffProperties({}, { password: secret })).toEqual([
      { path: 'password', kind: 'add', replaces: false, after: SECRET },
    ]);
    expect(diffProperties({ password: secret }, { password: 'plain' })).toEqual([
      { path: 'password', kind: 'update', replaces: false, before: SECRET, after: 'plain' },
    ]);
    expect(JSON.stringify(shown({ deep: [secret] }))).toBe('{"deep":["[secret]"]}');
  });

  it('cuts a long text but keeps two different ones apart', () => {
    const [one, two] = [shown(`${'x'.repeat(5_000)}1`), shown(`${'x'.repeat(5_000)}2`)];
    expect(String(one).length).toBeLessThan(300);
    expect(one).not.toBe(two);
  });

  it('lists every path that is unknown before the apply', () => {
    expect(unknownPaths({ a: UNKNOWN, b: [1, UNKNOWN], c: { d: UNKNOWN }, e: 'known' })).toEqual(['a', 'b[1]', 'c.d']);
    expect(shown(UNKNOWN)).toBe('(known after apply)');
  });
});
