import semver from 'semver';
import { stalled } from '#core/domain/errors.ts';
import { compilePattern } from './patterns.ts';

/** Which tags a range stands for. */
export interface TagRange {
  /** npm's syntax. */
  range: string;
  /** Whether prereleases count that the range does not name itself (npm's `includePrerelease`); default no. */
  prerelease?: boolean | undefined;
  /** RE2 pattern; tags in which it is not found are passed over before anything is ordered. */
  filter?: string | undefined;
}

/**
 * The highest tag inside a semver range, or undefined. npm's rules: a prerelease counts only where the range names one
 * of the same version, or `prerelease` is set; tags that are no version are passed over; a leading `v` is fine. Of two
 * tags that name the same version the one that sorts first is taken, so the choice never flips.
 * @throws ReconcileError stalled InvalidReference when the range cannot be parsed, SpecInvalid when the filter cannot
 */
export function selectTag(
  tags: readonly string[],
  { range, prerelease = false, filter }: TagRange,
): string | undefined {
  const parsed = semver.validRange(range);
  if (parsed === null) {
    throw stalled('InvalidReference', `${JSON.stringify(range)} is no semver range; see spec.source.ref.semver`);
  }
  const pattern = filter === undefined ? undefined : compilePattern(filter, 'spec.source.ref.filter');
  const passed = pattern === undefined ? tags : tags.filter((tag) => pattern.matcher(tag).find());
  const options = { includePrerelease: prerelease };
  const inside = passed.filter((tag) => semver.valid(tag) !== null && semver.satisfies(tag, parsed, options));
  const [best] = inside.toSorted((a, b) => semver.rcompare(a, b) || (a < b ? -1 : 1));
  return best;
}
