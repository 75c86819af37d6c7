import { bindingOf, mayBind } from '#core/domain/approval.ts';
import type { StackSpec, TenantSpec } from '#core/domain/manifest.ts';
import type { SpecError } from './spec-rules.ts';

/** Empty when the tenant lets approvals hold what the spec asks for; `undefined` is a tenant that says nothing. */
export function bindingErrors(spec: StackSpec, tenant: TenantSpec | undefined): SpecError[] {
  if (mayBind(spec, tenant)) return [];
  const message = `${bindingOf(spec)} is not among the bindings of the tenant; remove it, or have an administrator allow it with spec.bindings of the Tenant`;
  return [{ path: 'spec/approval/binding', message }];
}
