import { styleText } from 'node:util';
import type { Static } from 'typebox';
import type { ChangeView } from '#core/domain/view.ts';
import { printable } from './printable.ts';

type Change = Static<typeof ChangeView>;
type Diff = Change['diffs'][number];

export interface RenderOptions {
  color: boolean;
  /** Characters of a value that are shown; the rest is counted. */
  maxValue?: number;
}

const MAX_VALUE = 160;

/** Operations as a person reads them; unknown ones are shown by their own name, never hidden. */
const SIGNS: Readonly<Record<string, string>> = {
  create: '+',
  update: '~',
  delete: '-',
  replace: '±',
  'create-replacement': '±',
  'delete-replaced': '-',
  import: '=',
  read: '<',
  refresh: '~',
};
const COLORS = { '+': 'green', '~': 'yellow', '-': 'red', '±': 'magenta', '!': 'red' } as const;
const DIFF_SIGNS = { add: '+', update: '~', delete: '-' } as const;

function paint(sign: string, line: string, options: RenderOptions): string {
  if (!options.color) return line;
  const [, color = 'cyan'] = Object.entries(COLORS).find(([known]) => known === sign) ?? [];
  return styleText(color, line, { validateStream: false });
}

/** A value on one line; never longer than asked, and never able to move the cursor. */
export function renderValue(value: unknown, maxValue = MAX_VALUE): string {
  const text = printable(value === undefined ? '(none)' : JSON.stringify(value));
  return text.length <= maxValue ? text : `${text.slice(0, maxValue)}… (${text.length - maxValue} more characters)`;
}

/** The property in which a Node.js dynamic resource carries its own code (@pulumi/pulumi dynamic/index.js). */
const CODE = '__provider';

function renderDiff(diff: Diff, change: Change, options: RenderOptions): string {
  const sign = DIFF_SIGNS[diff.kind];
  if (diff.path === CODE) return paint(sign, `    ${sign} ${CODE}: (code of the dynamic provider)`, options);
  const unknown = change.unknowns.includes(diff.path);
  const before = renderValue(diff.before, options.maxValue);
  const after = unknown ? '(known after apply)' : renderValue(diff.after, options.maxValue);
  const values = { add: after, update: `${before} → ${after}`, delete: before }[diff.kind];
  const forced = diff.replaces ? '  ! forces a replacement' : '';
  return paint(sign, `    ${sign} ${printable(diff.path)}: ${values}${forced}`, options);
}

function warnings(change: Change): string[] {
  return [
    ...(change.isProvider ? ['    ! this is a provider: everything it manages is reached through it'] : []),
    ...(change.lostProtection ? ['    ! loses protect or retainOnDelete'] : []),
  ];
}

function renderChange(change: Change, options: RenderOptions): string[] {
  const sign = SIGNS[change.op] ?? '?';
  const shown = new Set(change.diffs.map((diff) => diff.path));
  const later = change.unknowns
    .filter((path) => !shown.has(path))
    .map((path) => `    ? ${printable(path)}: (known after apply)`);
  return [
    paint(sign, `${sign} ${printable(change.name)}  ${printable(change.type)}  (${printable(change.op)})`, options),
    ...warnings(change).map((line) => paint('!', line, options)),
    ...change.diffs.map((diff) => renderDiff(diff, change, options)),
    ...later,
  ];
}

/** `2 to create, 1 to delete, 5 unchanged`; the operations as the engine names them. */
export function renderSummary(summary: Readonly<Record<string, number>>): string {
  const counted = Object.entries(summary).filter(([, count]) => count > 0);
  const changes = counted.filter(([op]) => op !== 'same').map(([op, count]) => `${count} to ${printable(op)}`);
  const same = summary['same'] ?? 0;
  const parts = [...changes, ...(same > 0 ? [`${same} unchanged`] : [])];
  return parts.length === 0 ? 'nothing to do' : parts.join(', ');
}

/** What a plan would do, as text: one block a resource, unchanged ones left out. Pure, for every place that shows plans. */
export function renderChanges(changes: readonly Change[], options: RenderOptions): string {
  const shown = changes.filter((change) => change.op !== 'same');
  if (shown.length === 0) return 'No changes.';
  return shown.flatMap((change) => renderChange(change, options)).join('\n');
}
