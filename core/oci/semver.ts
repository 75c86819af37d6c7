import semver from 'semver';
import { stalled } from '#core/domain/errors.ts';

/**
 * The highest tag inside a semver range, or undefined. npm's rules: a prerelease counts only where the range names one
 * of the same version; tags that are no version are passed over; a leading `v` is fine. Of two tags that name the same
 * version the one that sorts first is taken, so the choice never flips.
 * @throws ReconcileError stalled InvalidReference when the range cannot be parsed
 */
export function selectTag(tags: readonly string[], range: string): string | undefined {
  const parsed = semver.validRange(range);
  if (parsed === null) {
    throw stalled('InvalidReference', `${JSON.stringify(range)} is no semver range; see spec.source.ref.semver`);
  }
  const inside = tags.filter((tag) => semver.valid(tag) !== null && semver.satisfies(tag, parsed));
  const [best] = inside.toSorted((a, b) => semver.rcompare(a, b) || (a < b ? -1 : 1));
  return best;
}
