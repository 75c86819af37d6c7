import { Type } from 'typebox';
import { actorOf } from '#core/domain/authorize.ts';
import { pageOf as PageOf, RevisionView, StackView } from '#core/domain/view.ts';
import { liveRun, liveRuns } from '#core/store/runs.ts';
import { listRevisions } from '#core/store/revisions.ts';
import { confirmUnlock, listStacks, requestReconcile, setSuspended } from '#core/store/stacks.ts';
import { principalOf } from '../auth.ts';
import type { App, RouteDeps } from '../deps.ts';
import { requireStack, ringStack } from '../stack.ts';
import { revisionView, stackView } from '../views.ts';
import { decodeCursor, pageOf } from './cursor.ts';
import { DEFAULT_PAGE, PageQuery, problems, StackParams, TenantParams } from './schema.ts';

const tags = ['stacks'];
const base = '/v1/tenants/:tenant/stacks';
const NAME = /^[a-z0-9-]{1,63}$/;

function readRoutes(app: App, deps: RouteDeps): void {
  app.get(
    base,
    {
      config: { route: 'stacks.list' },
      schema: { tags, params: TenantParams, querystring: PageQuery, response: { 200: PageOf(StackView), ...problems } },
    },
    async (request) => {
      const { limit = DEFAULT_PAGE, cursor } = request.query;
      const after = decodeCursor(cursor, NAME);
      const rows = await listStacks(deps.db, request.params.tenant, { after, limit: limit + 1 });
      const live = await liveRuns(deps.db, rows.map((row) => row.id));
      return pageOf(
        rows,
        limit,
        (row) => stackView(row, live.get(row.id), deps.now()),
        (row) => row.name,
      );
    },
  );

  app.get(
    `${base}/:stack`,
    {
      config: { route: 'stacks.get' },
      schema: { tags, params: StackParams, response: { 200: StackView, ...problems } },
    },
    async (request) => {
      const stack = await requireStack(deps, request.params);
      return stackView(stack, await liveRun(deps.db, stack.id), deps.now());
    },
  );

  app.get(
    `${base}/:stack/revisions`,
    {
      config: { route: 'stacks.revisions' },
      schema: { tags, params: StackParams, querystring: PageQuery, response: { 200: PageOf(RevisionView), ...problems } },
    },
    async (request) => {
      const { limit = DEFAULT_PAGE, cursor } = request.query;
      const stack = await requireStack(deps, request.params);
      const before = decodeCursor(cursor, /^\d{1,18}$/);
      const rows = await listRevisions(deps.db, stack.id, { before, limit: limit + 1 });
      return pageOf(rows, limit, revisionView, (row) => String(row.ordinal));
    },
  );
}

function writeRoutes(app: App, deps: RouteDeps): void {
  app.post(
    `${base}/:stack/reconcile`,
    {
      config: { route: 'stacks.reconcile' },
      schema: { tags, description: 'look at the stack now', params: StackParams, response: { 202: StackView, ...problems } },
    },
    async (request, reply) => {
      const { id } = await requireStack(deps, request.params);
      await requestReconcile(deps.db, id, actorOf(principalOf(request)));
      await ringStack(deps, request, id);
      const stack = await requireStack(deps, request.params);
      return reply.code(202).send(stackView(stack, await liveRun(deps.db, id), deps.now()));
    },
  );

  for (const word of ['suspend', 'resume'] as const) {
    app.post(
      `${base}/:stack/${word}`,
      {
        config: { route: `stacks.${word}` },
        schema: {
          tags,
          description: `set spec.suspend: a new generation, unless it is so already`,
          params: StackParams,
          response: { 200: StackView, ...problems },
        },
      },
      async (request) => {
        const { id } = await requireStack(deps, request.params);
        await setSuspended(deps.db, id, word === 'suspend', actorOf(principalOf(request)));
        await ringStack(deps, request, id);
        const stack = await requireStack(deps, request.params);
        return stackView(stack, await liveRun(deps.db, id), deps.now());
      },
    );
  }

  app.post(
    `${base}/:stack/unlock`,
    {
      config: { route: 'stacks.unlock' },
      schema: {
        tags,
        description: 'your word that the worker holding the lease is dead; its lock is taken over',
        params: StackParams,
        body: Type.Object({ confirmDead: Type.Literal(true) }, { additionalProperties: false }),
        response: { 202: StackView, ...problems },
      },
    },
    async (request, reply) => {
      const { id } = await requireStack(deps, request.params);
      await confirmUnlock(deps.db, id, actorOf(principalOf(request)));
      await ringStack(deps, request, id);
      const stack = await requireStack(deps, request.params);
      return reply.code(202).send(stackView(stack, await liveRun(deps.db, id), deps.now()));
    },
  );
}

/** Stacks: status, and what a person may ask for. */
export function stackRoutes(app: App, deps: RouteDeps): void {
  readRoutes(app, deps);
  writeRoutes(app, deps);
}
