import type { StackSpec, TenantSpec } from '#core/domain/manifest.ts';
import type { SpecError } from './spec-rules.ts';

/** An approval holds less than the plan only where the tenant allows that; `undefined` is a tenant that says nothing. */
export function bindingErrors(spec: StackSpec, tenant: TenantSpec | undefined): SpecError[] {
  const binding = spec.approval?.binding ?? 'plan';
  if (binding === 'plan' || tenant?.bindings?.includes(binding) === true) return [];
  const message = `${binding} is not among the bindings of the tenant; remove it, or have an administrator allow it with spec.bindings of the Tenant`;
  return [{ path: 'spec/approval/binding', message }];
}
