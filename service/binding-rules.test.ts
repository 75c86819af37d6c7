import { expect, it } from 'vitest';
import type { StackSpec } from '#core/domain/manifest.ts';
import { bindingErrors } from './binding-rules.ts';

const spec = (approval?: StackSpec['approval']): StackSpec => ({
  source: { repository: 'oci://registry.example.com/shop', ref: { tag: 'prod' } },
  pulumi: { stack: 'prod' },
  ...(approval && { approval }),
});

it.each([
  ['a spec that says nothing', spec(), undefined],
  ['the plan', spec({ mode: 'manual', binding: 'plan' }), undefined],
  [
    'operations, where the tenant allows them',
    spec({ mode: 'auto', binding: 'operations' }),
    { bindings: ['operations' as const] },
  ],
])('lets approvals hold %s', (_what, given, tenant) => {
  expect(bindingErrors(given, tenant)).toEqual([]);
});

it.each([
  ['says nothing', undefined],
  ['allows nothing', {}],
  ['allows the plan alone', { bindings: ['plan' as const] }],
])('refuses operations where the tenant %s', (_what, tenant) => {
  expect(bindingErrors(spec({ mode: 'manual', binding: 'operations' }), tenant)).toMatchObject([
    { path: 'spec/approval/binding' },
  ]);
});
