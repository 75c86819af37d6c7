import { Type } from 'typebox';
import { DriftItemView, PendingView, StackView } from '#core/domain/view.ts';
import { listDrift } from '#core/store/drift.ts';
import { answerPending, requestDrift, requestHeal } from '#core/store/requests.ts';
import { requestAcceptMissing } from '#core/store/state-requests.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { App, RouteDeps } from '../deps.ts';
import { askStack, requestOn, requireStack, ringStack } from '../stack.ts';
import { driftItemView } from '../views.ts';
import { problems, StackParams } from './schema.ts';

const base = '/v1/tenants/:tenant/stacks/:stack';

const Urn = Type.String({ minLength: 1, maxLength: 2048 });

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

  const asks = {
    check: { request: requestDrift, queue: 'drift', description: 'compare the live world now' },
    heal: { request: requestHeal, queue: 'reconcile', description: 'repair exactly what the last check reported' },
  } as const;
  for (const word of ['check', 'heal'] as const) {
    app.post(
      `${base}/drift/${word}`,
      {
        config: { route: `drift.${word}` },
        schema: {
          tags,
          description: asks[word].description,
          params: StackParams,
          response: { 202: StackView, ...problems },
        },
      },
      async (request, reply) => {
        const { request: write, queue } = asks[word];
        const view = await askStack(deps, request, request.params, (on) => write(deps.db, on), queue);
        return reply.code(202).send(view);
      },
    );
  }
}

function acceptRoute(app: App, deps: RouteDeps): void {
  app.post(
    `${base}/drift/accept`,
    {
      config: { route: 'drift.accept' },
      schema: {
        tags: ['drift'],
        description: 'let a resource that the last check reported as missing leave the state; 409 when it did not',
        params: StackParams,
        body: Type.Object({ urn: Urn }, { additionalProperties: false }),
        response: { 202: StackView, ...problems },
      },
    },
    async (request, reply) => {
      const view = await askStack(deps, request, request.params, (on) =>
        requestAcceptMissing(deps.db, { ...on, urn: request.body.urn }),
      );
      return reply.code(202).send(view);
    },
  );
}
const AnswerBody = Type.Union([
  Type.Object({ urn: Urn, answer: Type.Literal('clear') }, { additionalProperties: false }),
  Type.Object(
    { urn: Urn, answer: Type.Literal('import'), id: Type.String({ minLength: 1, maxLength: 2048 }) },
    { additionalProperties: false },
  ),
]);

function pendingRoutes(app: App, deps: RouteDeps): void {
  const tags = ['stacks'];
  const pendingOf = (stack: StackRow) => ({
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
      const on = await requestOn(deps, request, request.params);
      const stack = await answerPending(deps.db, { ...on, answer: { ...request.body, by: on.by } });
      await ringStack(deps, on);
      return reply.code(202).send(pendingOf(stack));
    },
  );
}

/** Drift of a stack, and what a crash left to decide. */
export function driftRoutes(app: App, deps: RouteDeps): void {
  driftRoutesOnly(app, deps);
  acceptRoute(app, deps);
  pendingRoutes(app, deps);
}
