import { expect, it } from 'vitest';
import { showHealed } from './drift-shown.ts';

const change = {
  urn: 'urn:pulumi:prod::shop::x:y:Z::web',
  type: 'x:y:Z',
  name: 'web',
  op: 'update',
  diffs: [],
  lostProtection: false,
  isProvider: false,
  unknowns: [],
};
const found = [
  { urn: change.urn, path: 'size', kind: 'changed', before: 1, after: 9 },
  { urn: change.urn, path: '', kind: 'changed', before: null, after: null },
  { urn: change.urn, path: 'name', kind: 'pending-change', before: 'a', after: 'b' },
  { urn: `${change.urn}2`, path: 'size', kind: 'changed', before: 1, after: 9 },
];

it('a heal that names no property shows what the check found, from the live value back to the one of the state', () => {
  expect(showHealed([change], found)).toEqual([
    { ...change, diffs: [{ path: 'size', kind: 'update', replaces: false, before: 9, after: 1 }] },
  ]);
});

it('what the provider names itself, and what is no update, is left as it is', () => {
  const named = { ...change, diffs: [{ path: 'n', kind: 'update' as const, replaces: false }] };
  const created = { ...change, op: 'create' };
  expect(showHealed([named, created], found)).toEqual([named, created]);
});
