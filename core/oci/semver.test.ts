import { describe, expect, it } from 'vitest';
import { selectTag } from './semver.ts';

describe('selectTag', () => {
  it.each<[string, string[], string | undefined]>([
    ['^1.4', ['1.3.9', '1.4.0', '1.10.2', '2.0.0'], '1.10.2'],
    ['^1.4', ['latest', 'sha256-abc', '1.4'], undefined],
    ['^1.4', ['v1.4.1', '1.4.0'], 'v1.4.1'],
    ['^1.4', ['v1.4.1', '1.4.1'], '1.4.1'],
    ['*', ['1.0.0', '2.0.0-rc.1'], '1.0.0'],
    ['>=2.0.0-rc.0', ['1.0.0', '2.0.0-rc.1', '2.0.0-rc.2'], '2.0.0-rc.2'],
    ['>=2.0.0-rc.0', ['2.1.0-rc.1'], undefined],
    ['1.x', [], undefined],
  ])('%s of %j is %s', (range, tags, expected) => {
    expect(selectTag(tags, range)).toBe(expected);
    expect(selectTag(tags.toReversed(), range)).toBe(expected);
  });

  it('refuses a range it cannot read', () => {
    expect(() => selectTag(['1.0.0'], 'newest')).toThrow(expect.objectContaining({ reason: 'InvalidReference' }));
  });
});
