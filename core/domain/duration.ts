const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Milliseconds of a duration such as `30s`, `1h30m` or `7d` (see DURATION_PATTERN).
 * @throws when the text is not a duration; manifests are checked by schema before, so this is a defect.
 */
export function parseDuration(text: string): number {
  let total = 0;
  let rest = text;
  while (rest !== '') {
    const match = /^(\d+)(ms|s|m|h|d)/.exec(rest);
    if (match === null) throw new Error(`not a duration: ${JSON.stringify(text)} (write 30s, 5m, 1h30m, 7d)`);
    total += Number(match[1]) * (UNITS[match[2] ?? ''] ?? 0);
    rest = rest.slice(match[0].length);
  }
  return total;
}
