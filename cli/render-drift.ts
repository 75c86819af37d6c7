import { urnName } from '#core/domain/urn.ts';
import type { DriftItemView } from '#core/domain/view.ts';
import { isReordered } from '#core/engine/property-diff.ts';
import { printable } from './printable.ts';
import { renderValue } from './render-changes.ts';
import { age } from './table.ts';

function renderItem(item: DriftItemView, now: Date): string {
  const sides = `${renderValue(item.before)} → ${renderValue(item.after)}${isReordered(item.before, item.after) ? ' (only reordered)' : ''}`;
  const what = item.path === '' ? '' : ` ${item.path}: ${sides}`;
  const ignored = item.ignoredUntil === null ? '' : `, ignored until ${item.ignoredUntil}: ${item.ignoredReason ?? ''}`;
  return printable(
    `  ${item.kind}  ${urnName(item.urn)} (${item.type})${what}, for ${age(item.firstSeenAt, now)}${ignored}`,
  );
}

/** What the live world has otherwise: the last applied value, then the one that was found. Ignored items come last. */
export function renderDrift(items: readonly DriftItemView[], now = new Date()): string {
  if (items.length === 0) return 'No drift: the live world agrees.';
  const sorted = [...items].sort((a, b) => Number(a.ignoredUntil !== null) - Number(b.ignoredUntil !== null));
  return sorted.map((item) => renderItem(item, now)).join('\n');
}
