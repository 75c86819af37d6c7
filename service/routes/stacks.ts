import { Type } from 'typebox';
import { pageOf as PageOf, RevisionView, StackView } from '#core/domain/view.ts';
import { liveRuns } from '#core/store/runs.ts';
import { listRevisions } from '#core/store/revisions.ts';
import { confirmUnlock, requestReconcile } from '#core/store/requests.ts';
import { listStacks, setSuspended } from '#core/store/stacks.ts';
import type { App, RouteDeps } from '../deps.ts';
import { askStack, requestOn, requireStack, ringStack, showStack, surroundings } from '../stack.ts';
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
      const rows = await listStacks(deps.db, { tenant: request.params.tenant, after, limit: limit + 1 });
      const live = await liveRuns(
        deps.db,
        rows.map((row) => row.id),
      );
      const at = await surroundings(deps, request.params.tenant);
      return pageOf(
        rows,
        limit,
        (row) => stackView(row, live.get(row.id), at),
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
    async (request) => showStack(deps, await requireStack(deps, request.params)),
  );

  app.get(
    `${base}/:stack/revisions`,
    {
      config: { route: 'stacks.revisions' },
      schema: {
        tags,
        params: StackParams,
        querystring: PageQuery,
        response: { 200: PageOf(RevisionView), ...problems },
      },
    },
    async (request) => {
      const { limit = DEFAULT_PAGE, cursor } = request.query;
      const stack = await requireStack(deps, request.params);
      const before = decodeCursor(cursor, /^\d{1,18}$/);
      const rows = await listRevisions(deps.db, {
        stackId: stack.id,
        limit: limit + 1,
        ...(before !== undefined && { before: Number(before) }),
      });
      return pageOf(rows, limit, revisionView, (row) => String(row.ordinal));
    },
  );
}

function requestRoutes(app: App, deps: RouteDeps): void {
  app.post(
    `${base}/:stack/reconcile`,
    {
      config: { route: 'stacks.reconcile' },
      schema: {
        tags,
        description: 'look at the stack now',
        params: StackParams,
        response: { 202: StackView, ...problems },
      },
    },
    async (request, reply) => {
      const view = await askStack(deps, request, request.params, (on) => requestReconcile(deps.db, on));
      return reply.code(202).send(view);
    },
  );

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
      const view = await askStack(deps, request, request.params, (on) => confirmUnlock(deps.db, on));
      return reply.code(202).send(view);
    },
  );
}

function suspendRoutes(app: App, deps: RouteDeps): void {
  for (const word of ['suspend', 'resume'] as const) {
    app.post(
      `${base}/:stack/${word}`,
      {
        config: { route: `stacks.${word}` },
        schema: {
          tags,
          description: 'set spec.suspend: a new generation, unless it is so already',
          params: StackParams,
          response: { 200: StackView, ...problems },
        },
      },
      async (request) => {
        const on = await requestOn(deps, request, request.params);
        await setSuspended(deps.db, { ...on, suspended: word === 'suspend' });
        await ringStack(deps, on);
        return showStack(deps, await requireStack(deps, request.params));
      },
    );
  }
}

/** Stacks: status, and what a person may ask for. */
export function stackRoutes(app: App, deps: RouteDeps): void {
  readRoutes(app, deps);
  requestRoutes(app, deps);
  suspendRoutes(app, deps);
}
