import type { DriftItem, DriftResult } from '../engine/port.ts';
import { counting, type Finding } from './drift-report.ts';
import { canonicalJson } from './plan.ts';
import { urnName } from './urn.ts';

/** Fewer missing resources than this are believed whatever their share: one of two is an accident, not an account. */
const LEAST_SUSPICIOUS = 3;

/** More than 20 % missing: the credentials or the account are suspected, not the world (design, Drift). */
export function suspectsCredentials(result: DriftResult): boolean {
  const missing = new Set(result.items.filter((item) => item.kind === 'missing').map((item) => item.urn)).size;
  return missing >= LEAST_SUSPICIOUS && missing > result.resources * 0.2;
}

/** A property that was set back, and from what. */
export interface Heal {
  urn: string;
  path: string;
  found: unknown;
  wanted: unknown;
  healed_at: Date;
}

export type HealVerdict = { type: 'nothing' } | { type: 'heal' } | { type: 'loop'; message: string };

/** Times the same property may be healed in 24 hours before Plumbline stops and says so. */
const MOST_HEALS = 3;

const shown = (value: unknown) =>
  value === undefined || value === null ? 'nothing' : canonicalJson(value).slice(0, 80);

function sayLoop(item: DriftItem, heals: readonly Heal[]): string {
  const property = `${urnName(item.urn)}.${item.path}`;
  const found = [...new Set([...heals.map((heal) => shown(heal.found)), shown(item.after)])];
  const times = heals.map((heal) => heal.healed_at.toISOString()).join(', ');
  return `${property} was healed ${heals.length} times in a day and drifted again: something else sets it to ${found.join(', ')}, each heal to ${shown(item.before)} (at ${times}). Who it is the provider does not tell: look for another program, an autoscaler or a person, then give the property to one of them, ignore it for a time (spec.drift.ignore) or set drift.action: report`;
}

/**
 * What may be set back to what was applied: changed resources that nobody ignores. Of a resource of which any property is
 * ignored nothing is healed, because a heal sets back the whole resource. Missing ones never are (design, Drift).
 */
export function healable<T extends { urn: string; kind: string }>(
  items: readonly T[],
  isIgnored: (item: T) => boolean,
): T[] {
  const ignored = new Set(items.filter(isIgnored).map((item) => item.urn));
  return items.filter((item) => item.kind === 'changed' && !ignored.has(item.urn));
}

/** Whether what a check found is healed by itself, given the heals of the last 24 hours. */
export function healVerdict(found: readonly Finding[], heals: readonly Heal[]): HealVerdict {
  // Whatever wrote the state may have meant something: a person looks first.
  if (counting(found).some((item) => item.kind === 'state-moved')) return { type: 'nothing' };
  const changed = healable(found, (item) => item.ignored !== undefined);
  if (changed.length === 0) return { type: 'nothing' };
  for (const item of changed) {
    const former = heals.filter((heal) => heal.urn === item.urn && heal.path === item.path);
    if (former.length >= MOST_HEALS) return { type: 'loop', message: sayLoop(item, former) };
  }
  return { type: 'heal' };
}

/** The newest run that heals, and what its end says about wishes that came before it. */
export interface LastHeal {
  state: string;
  createdAt: Date;
}

/** Ends by which a person, or time, said no to a heal. */
const REFUSED: ReadonlySet<string> = new Set(['discarded', 'expired', 'canceled']);

/**
 * Whether asking for a heal (again) would only repeat what is known: one is under way, or was refused and nothing has drifted
 * since.
 */
export function isHealAsked(last: LastHeal | undefined, isUnderWay: boolean, firstSeen: readonly Date[]): boolean {
  if (last === undefined) return false;
  if (isUnderWay) return true;
  return REFUSED.has(last.state) && firstSeen.every((time) => time <= last.createdAt);
}
