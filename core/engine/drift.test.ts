import { expect, it } from 'vitest';
import { liveDrift, pendingChanges, refreshedResources } from './drift.ts';
import type { Phase, StepMetadata } from './events.ts';

const URN = 'urn:pulumi:prod::shop::pulumi-nodejs:dynamic:Resource::role';
const TYPE = 'pulumi-nodejs:dynamic:Resource';
const secret = { '4dabf18193072939515e22adb298388d': '1b47061264138c4ac30d75fd1eb44270', ciphertext: '[secret]' };

function result(op: string, before: Record<string, unknown>, after?: Record<string, unknown>): StepMetadata {
  const state = (outputs: Record<string, unknown>) => ({ urn: URN, type: TYPE, outputs });
  return { op, urn: URN, type: TYPE, old: state(before), new: after === undefined ? null : state(after) };
}

const refreshed = (...outputs: StepMetadata[]): Phase => ({ steps: [], outputs, summary: undefined, ended: true });

it('reports each property that differs from the state, old and new', () => {
  expect(liveDrift(refreshed(result('update', { login: true, limit: 5 }, { login: false, limit: 5 })))).toEqual([
    { urn: URN, type: TYPE, path: 'login', kind: 'changed', before: true, after: false },
  ]);
});

it('reports a resource that is gone as missing', () => {
  expect(liveDrift(refreshed(result('delete', { login: true })))).toEqual([
    { urn: URN, type: TYPE, path: '', kind: 'missing' },
  ]);
});

it('reports a resource of which only a secret differs, without a value', () => {
  expect(liveDrift(refreshed(result('update', { password: secret }, { password: secret })))).toEqual([
    { urn: URN, type: TYPE, path: '', kind: 'changed' },
  ]);
});

it('reports nothing for resources that agree, nor for the code of a dynamic provider', () => {
  const same = result('same', { login: true }, { login: true });
  const code = result('update', { __provider: 'a' }, { __provider: 'b' });
  expect(liveDrift(refreshed(same, code))).toEqual([]);
  expect(refreshedResources(refreshed(same, code))).toBe(2);
});

it('reports what an apply would still change: properties of updates, else the operation', () => {
  const base = { urn: URN, type: TYPE, name: 'role', lostProtection: false, isProvider: false, unknowns: [] };
  const diff = { path: 'limit', kind: 'update' as const, replaces: false, before: 1, after: 2 };
  expect(
    pendingChanges([
      { ...base, op: 'update', diffs: [diff] },
      { ...base, op: 'delete', diffs: [] },
    ]),
  ).toEqual([
    { urn: URN, type: TYPE, path: 'limit', kind: 'pending-change', before: 1, after: 2 },
    { urn: URN, type: TYPE, path: '', kind: 'pending-change', after: 'delete' },
  ]);
});
