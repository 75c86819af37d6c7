import type { DriftItemView } from '#core/domain/view.ts';
import { printable } from './printable.ts';
import { renderValue } from './render-changes.ts';
import { age } from './table.ts';

function nameOf(urn: string): string {
  return urn.slice(urn.lastIndexOf('::') + 2);
}

function renderItem(item: DriftItemView, now: Date): string {
  const what = item.path === '' ? '' : ` ${item.path}: ${renderValue(item.before)} → ${renderValue(item.after)}`;
  return printable(`  ${item.kind}  ${nameOf(item.urn)} (${item.type})${what}, for ${age(item.firstSeenAt, now)}`);
}

/** What the live world has otherwise: the last applied value, then the one that was found. */
export function renderDrift(items: readonly DriftItemView[], now = new Date()): string {
  return items.length === 0
    ? 'No drift: the live world agrees.'
    : items.map((item) => renderItem(item, now)).join('\n');
}
