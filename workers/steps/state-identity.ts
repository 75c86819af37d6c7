import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { StateIdentity } from '#core/domain/plan.ts';
import type { WorkerDeps } from '../deps.ts';

/** The state address a spec asks for. Tenants never share a prefix (rule 10). */
export function wantedIdentity(deps: WorkerDeps, tenant: string, spec: StackSpec, project: string): StateIdentity {
  const own = `file://${join(deps.config.dataDir, 'state', tenant)}`;
  const shared = deps.config.PULUMI_BACKEND_URL;
  const fallback = shared === '' ? own : `${shared.replace(/\/$/, '')}/${tenant}`;
  const backend = spec.pulumi.backend ?? fallback;
  if (spec.pulumi.backend?.startsWith('file:') === true && !backend.startsWith(`${own}/`) && backend !== own) {
    throw stalled(
      'SpecInvalid',
      `spec.pulumi.backend: a file backend must lie inside ${own}, so that tenants do not meet`,
    );
  }
  return { backend, organization: 'organization', project, stack: spec.pulumi.stack };
}
