import { actorOf } from '#core/domain/authorize.ts';
import { pageOf as PageOf, RunDetailView, RunView } from '#core/domain/view.ts';
import { approve, discard, listApprovals } from '#core/store/approvals.ts';
import { getPlan } from '#core/store/plans.ts';
import { cancelRun, listRuns } from '#core/store/runs.ts';
import { principalOf } from '../auth.ts';
import type { App, RouteDeps } from '../deps.ts';
import { requireRun, requireStack, ringStack } from '../stack.ts';
import { approvalView, planView, runView } from '../views.ts';
import { decodeCursor, pageOf } from './cursor.ts';
import { DecisionBody, DEFAULT_PAGE, PageQuery, problems, RunParams, StackParams } from './schema.ts';

const tags = ['runs'];
const base = '/v1/tenants/:tenant/stacks/:stack/runs';

function listRoute(app: App, deps: RouteDeps): void {
  app.get(
    base,
    {
      config: { route: 'runs.list' },
      schema: {
        tags,
        description: 'newest first',
        params: StackParams,
        querystring: PageQuery,
        response: { 200: PageOf(RunView), ...problems },
      },
    },
    async (request) => {
      const { limit = DEFAULT_PAGE, cursor } = request.query;
      const stack = await requireStack(deps, request.params);
      const before = decodeCursor(cursor, /^\d{1,10}$/);
      const rows = await listRuns(deps.db, {
        stackId: stack.id,
        limit: limit + 1,
        ...(before !== undefined && { before: Number(before) }),
      });
      return pageOf(
        rows,
        limit,
        (row) => runView(row, stack.name),
        (row) => String(row.number),
      );
    },
  );
}

function detailRoutes(app: App, deps: RouteDeps): void {
  app.get(
    `${base}/:number`,
    {
      config: { route: 'runs.get' },
      schema: { tags, params: RunParams, response: { 200: RunDetailView, ...problems } },
    },
    async (request) => {
      const run = await requireRun(deps, request.params);
      const [plan, approvals] = await Promise.all([getPlan(deps.db, run.id), listApprovals(deps.db, run.id)]);
      return {
        run: runView(run, request.params.stack),
        plan: plan === undefined ? null : planView(plan),
        approvals: approvals.map(approvalView),
      };
    },
  );
}

function decisionRoutes(app: App, deps: RouteDeps): void {
  const decisions = { approve, discard };
  for (const word of ['approve', 'discard'] as const) {
    app.post(
      `${base}/:number/${word}`,
      {
        config: { route: `runs.${word}` },
        schema: {
          tags,
          description: `${word} exactly the plan with this digest; 409 when the run is not waiting, or has another plan`,
          params: RunParams,
          body: DecisionBody,
          response: { 200: RunView, ...problems },
        },
      },
      async (request) => {
        const run = await requireRun(deps, request.params);
        const { planDigest, comment = '' } = request.body;
        const actor = actorOf(principalOf(request));
        const decided = await decisions[word](deps.db, {
          tenant: run.tenant,
          runId: run.id,
          planDigest,
          actor,
          comment,
        });
        await ringStack(deps, { tenant: run.tenant, stackId: run.stack_id });
        return runView(decided, request.params.stack);
      },
    );
  }

  app.post(
    `${base}/:number/cancel`,
    {
      config: { route: 'runs.cancel' },
      schema: {
        tags,
        description: 'stop the run; one that applies is interrupted politely first',
        params: RunParams,
        response: { 202: RunView, ...problems },
      },
    },
    async (request, reply) => {
      const run = await requireRun(deps, request.params);
      const canceled = await cancelRun(deps.db, {
        tenant: run.tenant,
        runId: run.id,
        by: actorOf(principalOf(request)),
      });
      await ringStack(deps, { tenant: run.tenant, stackId: run.stack_id });
      return reply.code(202).send(runView(canceled, request.params.stack));
    },
  );
}

/** Runs, their plans, and decisions on them. */
export function runRoutes(app: App, deps: RouteDeps): void {
  listRoute(app, deps);
  detailRoutes(app, deps);
  decisionRoutes(app, deps);
}
