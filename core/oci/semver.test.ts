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
    expect(selectTag(tags, { range })).toBe(expected);
    expect(selectTag(tags.toReversed(), { range })).toBe(expected);
  });

  it.each<[string, Parameters<typeof selectTag>[1], string[], string | undefined]>([
    ['takes prereleases where asked', { range: '^1.0', prerelease: true }, ['1.0.0', '1.1.0-rc.1'], '1.1.0-rc.1'],
    ['orders only what the filter lets through', { range: '*', filter: '^v?1\\.' }, ['1.2.0', '2.0.0'], '1.2.0'],
    [
      'filters before it orders',
      { range: '>=1.0.0-0', prerelease: true, filter: '-prod$' },
      ['1.0.0-prod', '1.1.0-dev'],
      '1.0.0-prod',
    ],
    ['finds nothing where the filter lets nothing through', { range: '*', filter: 'x' }, ['1.0.0'], undefined],
  ])('%s', (_, range, tags, expected) => {
    expect(selectTag(tags, range)).toBe(expected);
  });

  it('is not held up by a pattern made to hang', () => {
    const began = performance.now();
    expect(selectTag(['a'.repeat(120)], { range: '*', filter: '^(a+)+$b' })).toBeUndefined();
    expect(performance.now() - began).toBeLessThan(1000);
  });

  it('refuses a filter it cannot read', () => {
    expect(() => selectTag(['1.0.0'], { range: '*', filter: '(?=x)' })).toThrow(
      expect.objectContaining({
        reason: 'SpecInvalid',
        message: expect.stringContaining('spec.source.ref.filter'),
      }),
    );
  });

  it('refuses a range it cannot read', () => {
    expect(() => selectTag(['1.0.0'], { range: 'newest' })).toThrow(
      expect.objectContaining({ reason: 'InvalidReference' }),
    );
  });
});
