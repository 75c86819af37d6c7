import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { StateIdentity } from '#core/domain/plan.ts';
import {
  backendErrors,
  isService,
  liesWithin,
  meetsShared,
  nameError,
  NO_ORGANIZATION,
  tenantBackend,
} from '#core/engine/backends.ts';
import { backendTakenByAnother } from '#core/store/backends.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';

function refuse(message: string): never {
  throw stalled('SpecInvalid', message);
}

/** The tenant's own part of what the installation has for everybody. */
function ownBackend(deps: WorkerDeps, tenant: string): string {
  const shared = deps.config.PULUMI_BACKEND_URL;
  if (shared === '') return `file://${join(deps.config.dataDir, 'state', tenant)}`;
  return (
    tenantBackend(shared, tenant) ??
    refuse(
      'PULUMI_BACKEND_URL is a service, of which tenants have no part by themselves; set spec.pulumi.backend and organization',
    )
  );
}

/** Places that belong to the installation: a tenant is only in its own part of each. */
function checkShared(deps: WorkerDeps, tenant: string, backend: string): void {
  const own = ownPlaces(deps, tenant);
  if (backend.startsWith('file:') && !own.files.some((base) => liesWithin(backend, base))) {
    refuse(`spec.pulumi.backend: a file backend must lie inside ${own.files[0]}, so that tenants do not meet`);
  }
  const shared = deps.config.PULUMI_BACKEND_URL;
  if (shared === '' || isService(shared) || own.shared === undefined) return;
  if (meetsShared(backend, shared) && !liesWithin(backend, own.shared)) {
    refuse(
      `spec.pulumi.backend: of the installation's backend this tenant has ${own.shared}; leave the field out, or stay inside`,
    );
  }
}

function ownPlaces(deps: WorkerDeps, tenant: string): { files: string[]; shared: string | undefined } {
  const shared = deps.config.PULUMI_BACKEND_URL;
  const own = shared === '' ? undefined : tenantBackend(shared, tenant);
  const files = [`file://${join(deps.config.dataDir, 'state', tenant)}`];
  return { files: own?.startsWith('file:') === true ? [own, ...files] : files, shared: own };
}

/**
 * The state address a spec asks for. Tenants never share a prefix (design, rule 10).
 * @throws ReconcileError stalled(SpecInvalid)
 */
export function wantedIdentity(deps: WorkerDeps, tenant: string, spec: StackSpec, project: string): StateIdentity {
  const { backend: named, organization } = spec.pulumi;
  const backend = named ?? ownBackend(deps, tenant);
  // What a newer version of the service refuses may be in the database still.
  const [wrong] = backendErrors({ ...spec.pulumi, backend });
  if (wrong !== undefined) refuse(`spec.pulumi.${wrong.path}: ${wrong.message}`);
  if (named !== undefined) checkShared(deps, tenant, named);
  const identity = { backend, organization: organization ?? NO_ORGANIZATION, project, stack: spec.pulumi.stack };
  const name = nameError(identity);
  if (name !== undefined) refuse(`spec.pulumi.stack: ${name}`);
  return identity;
}

/**
 * Makes sure that no other tenant has the same backend, one above it or one below it.
 * @throws ReconcileError stalled(SpecInvalid)
 */
export async function requireOwnBackend(deps: WorkerDeps, stack: StackRow, identity: StateIdentity): Promise<void> {
  if (await backendTakenByAnother(deps.db, { tenant: stack.tenant, use: identity, since: stack.created_at })) {
    refuse(
      'spec.pulumi.backend: another tenant has this backend, or one above or below it; tenants share none, so name a folder, table or organization of your own',
    );
  }
}
