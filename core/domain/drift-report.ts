import type { DriftItem } from '../engine/port.ts';
import { ignoredBy, type Ignored } from './drift-ignore.ts';
import type { DriftIgnore } from './manifest.ts';
import { canonicalJson } from './plan.ts';
import { urnName } from './urn.ts';

/** What a check found, with the rule that leaves it out, if one does. */
export interface Finding extends DriftItem {
  ignored?: Ignored;
}

/** What was found before, as far as it says something about now. */
export interface KnownItem {
  urn: string;
  path: string;
  kind: string;
  before: unknown;
}

function keyOf(item: { urn: string; path: string }): string {
  return `${item.urn}\n${item.path}`;
}

/**
 * A heal whose refresh was written and whose plan was not applied (discarded, cut off) leaves the live value in the state: then
 * only the program still says what was applied last. It is the same drift, and stays one that can be healed.
 */
function continued(item: DriftItem, known: ReadonlyMap<string, KnownItem>): DriftItem {
  const before = known.get(keyOf(item));
  if (item.kind !== 'pending-change' || item.path === '' || before?.kind !== 'changed') return item;
  // The program now wants something else: that is a change of its own.
  if (canonicalJson(item.after ?? null) !== canonicalJson(before.before ?? null)) return item;
  return { ...item, kind: 'changed', before: item.after, after: item.before };
}

/** The items of a check, each property once, with what is ignored marked. */
export function findings(
  items: readonly DriftItem[],
  at: { known: readonly KnownItem[]; rules: readonly DriftIgnore[]; now: Date },
): Finding[] {
  const known = new Map(at.known.map((item) => [keyOf(item), item]));
  const all = new Map<string, DriftItem>();
  for (const item of items) {
    const key = keyOf(item);
    // What the live world has otherwise says more than what the program would do about it.
    if (!all.has(key)) all.set(key, continued(item, known));
  }
  return [...all.values()].map((item) => {
    const ignored = ignoredBy(item, at.rules, at.now);
    return ignored === undefined ? item : { ...item, ignored };
  });
}

/** What counts as drift. */
export function counting(found: readonly Finding[]): Finding[] {
  return found.filter((item) => item.ignored === undefined);
}

/** Most names of a message; the rest is a number. */
const MAX_NAMES = 5;

function nameOf(item: DriftItem): string {
  if (item.kind === 'state-moved') return 'the state (written by something else)';
  const name = urnName(item.urn);
  return item.path === '' ? `${name} (${item.kind})` : `${name}.${item.path}`;
}

function listing(items: readonly DriftItem[]): string {
  const names = [...new Set(items.map(nameOf))];
  const shown = names.slice(0, MAX_NAMES).join(', ');
  return names.length > MAX_NAMES ? `${shown} and ${names.length - MAX_NAMES} more` : shown;
}

function sayIgnored(found: readonly Finding[]): string[] {
  const ends = found.flatMap((item) => (item.ignored === undefined ? [] : [item.ignored.until.getTime()]));
  if (ends.length === 0) return [];
  const [first, last] = [Math.min(...ends), Math.max(...ends)].map((ms) => new Date(ms).toISOString());
  return [`${ends.length} ignored until ${first === last ? first : `${first}, the last until ${last}`}`];
}

/** One sentence about a check: what counts, what is ignored until when, and how much was taken for noise. */
export function driftMessage(found: readonly Finding[], noise: number): string {
  const items = counting(found);
  const head =
    items.length === 0
      ? 'the live world agrees with the last applied state'
      : `${items.length} differences: ${listing(items)}`;
  const tail = noise === 0 ? [] : [`${noise} values only changed their form, or follow from others (noise)`];
  return [head, ...sayIgnored(found), ...tail].join('; ');
}
