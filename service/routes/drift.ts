import { Type } from 'typebox';
import { actorOf } from '#core/domain/authorize.ts';
import { DriftItemView, PendingView, StackView } from '#core/domain/view.ts';
import { listDrift } from '#core/store/drift.ts';
import { liveRun } from '#core/store/runs.ts';
import { answerPending, requestDrift, requestHeal } from '#core/store/stacks.ts';
import { principalOf } from '../auth.ts';
import type { App, RouteDeps } from '../deps.ts';
import { requireStack, ringStack } from '../stack.ts';
import { driftItemView, stackView } from '../views.ts';
import { problems, StackParams } from './schema.ts';

const base = '/v1/tenants/:tenant/stacks/:stack';

function driftRoutesOnly(app: App, deps: RouteDeps): void {
  const tags = ['drift'];
  app.get(
    `${base}/drift`,
    {
      config: { route: 'drift.list' },
      schema: {
        tags,
        description: 'what the last check found, oldest first',
        params: StackParams,
        response: { 200: Type.Object({ items: Type.Array(DriftItemView) }), ...problems },
      },
    },
    async (request) => {
      const stack = await requireStack(deps, request.params);
      const rows = await listDrift(deps.db, stack.id);
      return { items: rows.map((row) => driftItemView(row, deps.now())) };
    },
  );

  const asks = { check: requestDrift, heal: requestHeal };
  for (const word of ['check', 'heal'] as const) {
    app.post(
      `${base}/drift/${word}`,
      {
        config: { route: `drift.${word}` },
        schema: {
          tags,
          description: word === 'check' ? 'compare the live world now' : 'repair exactly what the last check reported',
          params: StackParams,
          response: { 202: StackView, ...problems },
        },
      },
      async (request, reply) => {
        const { id } = await requireStack(deps, request.params);
        await asks[word](deps.db, id, actorOf(principalOf(request)));
        await ringStack(deps, request, id);
        const stack = await requireStack(deps, request.params);
        return reply.code(202).send(stackView(stack, await liveRun(deps.db, id), deps.now()));
      },
    );
  }
}

const Urn = Type.String({ minLength: 1, maxLength: 2048 });
const AnswerBody = Type.Union([
  Type.Object({ urn: Urn, answer: Type.Literal('clear') }, { additionalProperties: false }),
  Type.Object(
    { urn: Urn, answer: Type.Literal('import'), id: Type.String({ minLength: 1, maxLength: 2048 }) },
    { additionalProperties: false },
  ),
]);

function pendingRoutes(app: App, deps: RouteDeps): void {
  const tags = ['stacks'];
  const pendingOf = (stack: Awaited<ReturnType<typeof requireStack>>) => ({
    operations: stack.pending_operations ?? [],
    answers: stack.pending_answers ?? [],
  });

  app.get(
    `${base}/pending`,
    {
      config: { route: 'pending.list' },
      schema: {
        tags,
        description: 'operations an interrupted run left, and the answers given so far',
        params: StackParams,
        response: { 200: PendingView, ...problems },
      },
    },
    async (request) => pendingOf(await requireStack(deps, request.params)),
  );

  app.post(
    `${base}/pending`,
    {
      config: { route: 'pending.answer' },
      schema: {
        tags,
        description: '`clear`: it was not made; `import`: it exists under this provider id',
        params: StackParams,
        body: AnswerBody,
        response: { 202: PendingView, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = await requireStack(deps, request.params);
      await answerPending(deps.db, id, { ...request.body, by: actorOf(principalOf(request)) });
      await ringStack(deps, request, id);
      return reply.code(202).send(pendingOf(await requireStack(deps, request.params)));
    },
  );
}

/** Drift of a stack, and what a crash left to decide. */
export function driftRoutes(app: App, deps: RouteDeps): void {
  driftRoutesOnly(app, deps);
  pendingRoutes(app, deps);
}
