import { Type } from 'typebox';
import { closed } from '#core/domain/manifest-parts.ts';
import { actorOf } from '#core/domain/authorize.ts';
import { Digest } from '#core/domain/manifest.ts';
import { RunView } from '#core/domain/view.ts';
import { override } from '#core/store/overrides.ts';
import { principalOf } from '../auth.ts';
import type { App, RouteDeps } from '../deps.ts';
import { requireRun, ringStack } from '../stack.ts';
import { runView } from '../views.ts';
import { problems, RunParams } from './schema.ts';

/** The reason is part of the record, so it is asked for: at least one character that is no space. */
const OverrideBody = Type.Object(
  { planDigest: Digest, comment: Type.String({ minLength: 1, maxLength: 2000, pattern: '\\S' }) },
  { ...closed, description: 'which plan, and why' },
);

/** A person's word on what policy packs say of a plan. */
export function policyRoutes(app: App, deps: RouteDeps): void {
  app.post(
    '/v1/tenants/:tenant/stacks/:stack/runs/:number/override',
    {
      config: { route: 'runs.override' },
      schema: {
        tags: ['runs'],
        description:
          'override exactly the policy violations of the plan with this digest; it then waits for its approvals as any other. 409 when the run does not wait for an override, or has another plan',
        params: RunParams,
        body: OverrideBody,
        response: { 200: RunView, ...problems },
      },
    },
    async (request) => {
      const run = await requireRun(deps, request.params);
      const { planDigest, comment } = request.body;
      const actor = actorOf(principalOf(request));
      const overridden = await override(deps.db, { tenant: run.tenant, runId: run.id, planDigest, actor, comment });
      await ringStack(deps, { tenant: run.tenant, stackId: run.stack_id });
      return runView(overridden, request.params.stack);
    },
  );
}
