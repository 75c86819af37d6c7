import type { DriftItem, DriftResult } from '../engine/port.ts';

/** Fewer missing resources than this are believed whatever their share: one of two is an accident, not an account. */
const LEAST_SUSPICIOUS = 3;

/** More than 20 % missing: the credentials or the account are suspected, not the world (design, Drift). */
export function suspectsCredentials(result: DriftResult): boolean {
  const missing = new Set(result.items.filter((item) => item.kind === 'missing').map((item) => item.urn)).size;
  return missing >= LEAST_SUSPICIOUS && missing > result.resources * 0.2;
}

export type HealVerdict = { type: 'nothing' } | { type: 'heal' } | { type: 'loop'; property: string };

/** Times the same property may be healed in 24 hours before Plumbline stops and says so. */
const MOST_HEALS = 3;

/** Whether changed resources are healed by themselves; missing ones never are (design, Drift). */
export function healVerdict(items: readonly DriftItem[], heals: readonly { urn: string; path: string }[]): HealVerdict {
  const changed = items.filter((item) => item.kind === 'changed');
  if (changed.length === 0) return { type: 'nothing' };
  for (const item of changed) {
    const times = heals.filter((heal) => heal.urn === item.urn && heal.path === item.path).length;
    if (times >= MOST_HEALS) return { type: 'loop', property: `${item.urn.split('::').at(-1)}.${item.path}` };
  }
  return { type: 'heal' };
}
