import type { DriftIgnore } from './manifest.ts';

/** What a rule is held against. */
export interface Ignorable {
  urn: string;
  type: string;
  path: string;
  kind: string;
}

/** What of a rule stays with an item. */
export interface Ignored {
  until: Date;
  reason: string;
}

/** A rule longer than this would be a silence nobody remembers. */
const LONGEST_IGNORE_MS = 366 * 86_400_000;

/** Whether `*` as any text makes the pattern the text. Takes time linear in both: patterns are strangers' input. */
export function matchesGlob(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first) || text.length < first.length + last.length || !text.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}

/** The URN itself or its end after any `::`, so that the name of a resource is enough. */
function matchesUrn(pattern: string, urn: string): boolean {
  return matchesGlob(pattern, urn) || matchesGlob(`*::${pattern}`, urn);
}

/** The path itself and everything below it. */
function matchesPath(pattern: string, path: string): boolean {
  if (path === '') return false;
  return [pattern, `${pattern}.*`, `${pattern}[*`].some((glob) => matchesGlob(glob, path));
}

function matches(rule: DriftIgnore, item: Ignorable): boolean {
  if (rule.urn === undefined && rule.type === undefined && rule.path === undefined) return false;
  return (
    (rule.urn === undefined || matchesUrn(rule.urn, item.urn)) &&
    (rule.type === undefined || matchesGlob(rule.type, item.type)) &&
    (rule.path === undefined || matchesPath(rule.path, item.path))
  );
}

/**
 * Until when, and why, an item is left out of reports and heals; undefined when it counts. Of several rules the one that
 * lasts longest. A state that something else wrote is never ignored: whatever is planned from it could be wrong.
 */
export function ignoredBy(item: Ignorable, rules: readonly DriftIgnore[], now: Date): Ignored | undefined {
  if (item.kind === 'state-moved') return undefined;
  const found = rules
    .filter((rule) => new Date(rule.expires) > now && matches(rule, item))
    .sort((a, b) => Date.parse(b.expires) - Date.parse(a.expires))[0];
  return found && { until: new Date(found.expires), reason: found.reason };
}

/**
 * What is wrong with a rule that is applied now: nothing to match, or an end that is too far away. One that has run out is
 * taken and does nothing, so that a manifest can be applied again as it is.
 */
export function ignoreErrors(rules: readonly DriftIgnore[], now: Date): { path: string; message: string }[] {
  return rules.flatMap((rule, index) => {
    const path = `spec/drift/ignore/${index}`;
    const errors = [];
    if (rule.urn === undefined && rule.type === undefined && rule.path === undefined)
      errors.push({ path, message: 'names none of urn, type and path, so it would ignore everything' });
    const ms = Date.parse(rule.expires) - now.getTime();
    if (ms > LONGEST_IGNORE_MS)
      errors.push({ path: `${path}/expires`, message: `${rule.expires} is more than a year away` });
    return errors;
  });
}
