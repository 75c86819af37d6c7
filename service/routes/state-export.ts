import { Type } from 'typebox';
import { EXPORT_COMMAND } from '#core/domain/exec-command.ts';
import { isFinished } from '#core/domain/run.ts';
import { RunView } from '#core/domain/view.ts';
import { sealContext } from '#core/seal-context.ts';
import { open } from '#core/secrets.ts';
import { requestExec } from '#core/store/exec.ts';
import { getRunFile } from '#core/store/run-files.ts';
import type { App, RouteDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { requestOn, requireRun, ringStack } from '../stack.ts';
import { runView } from '../views.ts';
import { problems, RunParams, StackParams } from './schema.ts';

const tags = ['runs'];

/**
 * The state of a stack, its secrets encrypted. The service has no engine and no credentials of a backend, so a worker reads it in
 * a run, which is also what the diary shows; the answer is kept sealed for a quarter of an hour.
 */
export function stateExportRoutes(app: App, deps: RouteDeps): void {
  app.post(
    '/v1/tenants/:tenant/stacks/:stack/state/export',
    {
      config: { route: 'stacks.export' },
      schema: {
        tags,
        description: 'have a worker read the state; it is then at `runs/:number/state` for 15 minutes',
        params: StackParams,
        response: { 202: RunView, ...problems },
      },
    },
    async (request, reply) => {
      const on = await requestOn(deps, request, request.params);
      const run = await requestExec(deps.db, { ...on, command: EXPORT_COMMAND, reason: 'export of the state' });
      await ringStack(deps, on);
      return reply.code(202).send(runView(run, request.params.stack));
    },
  );

  app.get(
    '/v1/tenants/:tenant/stacks/:stack/runs/:number/state',
    {
      config: { route: 'runs.state' },
      schema: {
        tags,
        description: 'the state an export read, as `pulumi stack export` prints it: secrets stay encrypted',
        params: RunParams,
        response: { 200: { content: { 'application/json': { schema: Type.Unknown() } } }, ...problems },
      },
    },
    async (request, reply) => {
      const run = await requireRun(deps, request.params);
      const at = { tenant: run.tenant, runId: run.id, kind: 'state' } as const;
      const sealed = await getRunFile(deps.db, at);
      if (sealed === undefined) {
        if (run.operation === 'exec' && !isFinished(run.state))
          throw new Problem('conflict', `run ${run.number} is ${run.state}; the state is there when it is done`);
        throw notFound(`a state read by run ${run.number} in the last 15 minutes`);
      }
      // As text: what a state holds is nobody's to serialise anew.
      return reply
        .type('application/json; charset=utf-8')
        .serializer((text: unknown) => String(text))
        .send(open(deps.masterKey, sealed, sealContext.runFile(at)).toString('utf8'));
    },
  );
}
