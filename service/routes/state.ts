import { Type } from 'typebox';
import { StackView } from '#core/domain/view.ts';
import { acceptState, requestDestroy, requestRebind } from '#core/store/state-requests.ts';
import type { App, RouteDeps } from '../deps.ts';
import { askStack } from '../stack.ts';
import { problems, StackParams } from './schema.ts';

const tags = ['stacks'];
const base = '/v1/tenants/:tenant/stacks/:stack';

const ASKS = {
  destroy: {
    request: requestDestroy,
    description: 'plan the destroy of everything the stack made; a person approves it in every mode',
  },
  rebind: {
    request: requestRebind,
    description: 'let the state move to the address the spec asks for; a person approves the plan that does',
  },
} as const;

const Checkpoint = Type.String({
  pattern: '^(sha256:[0-9a-f]{64}|absent)$',
  description: 'as the stalled stack names it',
});

/** What a person may say about the state of a stack as a whole: take it away, let it move, answer for it. */
export function stateRoutes(app: App, deps: RouteDeps): void {
  for (const word of ['destroy', 'rebind'] as const) {
    app.post(
      `${base}/${word}`,
      {
        config: { route: `stacks.${word}` },
        schema: {
          tags,
          description: ASKS[word].description,
          params: StackParams,
          response: { 202: StackView, ...problems },
        },
      },
      async (request, reply) => {
        const view = await askStack(deps, request, request.params, (on) => ASKS[word].request(deps.db, on));
        return reply.code(202).send(view);
      },
    );
  }

  app.post(
    `${base}/accept-state`,
    {
      config: { route: 'stacks.accept-state' },
      schema: {
        tags,
        description: 'answer for a state that something other than Plumbline wrote, and for the code it holds',
        params: StackParams,
        body: Type.Object({ checkpoint: Checkpoint }, { additionalProperties: false }),
        response: { 202: StackView, ...problems },
      },
    },
    async (request, reply) => {
      const view = await askStack(deps, request, request.params, (on) =>
        acceptState(deps.db, { ...on, checkpoint: request.body.checkpoint }),
      );
      return reply.code(202).send(view);
    },
  );
}
