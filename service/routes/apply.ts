import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import { ApplyResultView } from '#core/domain/view.ts';
import { applyManifests } from '../apply.ts';
import { principalOf } from '../auth.ts';
import type { App, RouteDeps } from '../deps.ts';
import { ApplyBody, checkApplyBody } from '../manifests.ts';
import { ringStack } from '../stack.ts';
import { problems } from './schema.ts';

/** `POST /v1/apply`: desired state, as people write it. In a scope of its own, for its validator. */
export function applyRoutes(app: App, deps: RouteDeps): void {
  app.setValidatorCompiler((part) => (part.httpPart === 'body' ? checkApplyBody : TypeBoxValidatorCompiler(part)));
  app.post(
    '/v1/apply',
    {
      config: { route: 'apply' },
      schema: {
        tags: ['manifests'],
        description: 'all or none; what is applied again unchanged stays as it is',
        body: ApplyBody,
        response: { 200: ApplyResultView, ...problems },
      },
    },
    async (request) => {
      const { manifests, dryRun = false } = request.body;
      const { results, touched } = await applyManifests(deps, principalOf(request), manifests, dryRun);
      await Promise.all(touched.map((at) => ringStack(deps, at)));
      return { dryRun, results };
    },
  );
}
