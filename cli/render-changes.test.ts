import { describe, expect, it } from 'vitest';
import { renderChanges, renderSummary, renderValue } from './render-changes.ts';

type Change = Parameters<typeof renderChanges>[0][number];
type Diff = Change['diffs'][number];

const change = (over: Partial<Change>): Change => ({
  urn: 'urn:pulumi:main::postgres::pg:Role::reader',
  type: 'pg:Role',
  name: 'reader',
  op: 'update',
  diffs: [],
  lostProtection: false,
  isProvider: false,
  unknowns: [],
  ...over,
});
const diff = (over: Partial<Diff>): Diff => ({
  path: 'limit',
  kind: 'update',
  replaces: false,
  before: 5,
  after: 20,
  ...over,
});
const render = (...changes: Change[]) => renderChanges(changes, { color: false });

describe('renderChanges', () => {
  it.each([
    ['create', '+'],
    ['update', '~'],
    ['delete', '-'],
    ['replace', '±'],
    ['something-new', '?'],
  ])('marks %s with %s and names the operation', (op, sign) => {
    expect(render(change({ op }))).toBe(`${sign} reader  pg:Role  (${op})`);
  });

  it.each<[string, Partial<Diff>, string]>([
    ['both values of a change', {}, '    ~ limit: 5 → 20'],
    ['what is added', { kind: 'add' }, '    + limit: 20'],
    ['what is taken away', { kind: 'delete' }, '    - limit: 5'],
    ['that it forces a replacement', { replaces: true }, '    ~ limit: 5 → 20  ! forces a replacement'],
    [
      'that the code of a dynamic provider differs, and not the code',
      { path: '__provider' },
      '    ~ __provider: (code of the dynamic provider)',
    ],
    ['a mask as it is', { before: '[secret]', after: '[secret]' }, '    ~ limit: "[secret]" → "[secret]"'],
  ])('shows %s', (_what, over, line) => {
    expect(render(change({ diffs: [diff(over)] })).split('\n')[1]).toBe(line);
  });

  it('says what is known only after the apply, with or without a diff', () => {
    const text = render(change({ diffs: [diff({ kind: 'add', path: 'id' })], unknowns: ['id', 'url'] }));
    expect(text.split('\n').slice(1)).toEqual(['    + id: (known after apply)', '    ? url: (known after apply)']);
  });

  it('warns of lost protection and of providers', () => {
    const text = render(change({ lostProtection: true, isProvider: true }));
    expect(text).toContain('! loses protect or retainOnDelete');
    expect(text).toContain('! this is a provider');
  });

  it('leaves out what stays the same', () => {
    expect(render(change({ op: 'same' }))).toBe('No changes.');
  });

  it.each([
    ['a line end that would fake another change', 'x\n- database shop', String.raw`x\u{a}- database shop`],
    ['an escape sequence', '\u001b[2Kreader', String.raw`\u{1b}[2Kreader`],
    ['a change of direction', 'user\u202Enimda', String.raw`user\u{202e}nimda`],
  ])('spells out %s', (_what, name, shown) => {
    expect(render(change({ name }))).toBe(`~ ${shown}  pg:Role  (update)`);
  });

  it('colors by sign only when asked', () => {
    expect(renderChanges([change({ op: 'delete' })], { color: true })).toContain('\u001b[31m');
    expect(render(change({ op: 'delete' }))).not.toContain('\u001b');
  });
});

describe('renderValue', () => {
  it('cuts a long value and says how much is missing', () => {
    expect(renderValue('x'.repeat(20), 10)).toBe('"xxxxxxxxx… (12 more characters)');
  });

  it('tells nothing from null', () => {
    expect([renderValue(undefined), renderValue(null)]).toEqual(['(none)', 'null']);
  });
});

describe('renderSummary', () => {
  it.each([
    [{ create: 2, delete: 1, same: 5 }, '2 to create, 1 to delete, 5 unchanged'],
    [{ same: 1 }, '1 unchanged'],
    [{}, 'nothing to do'],
  ])('of %j', (summary, text) => {
    expect(renderSummary(summary)).toBe(text);
  });
});
