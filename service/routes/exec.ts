import { Type } from 'typebox';
import { execRefusal } from '#core/domain/exec-command.ts';
import { RunView } from '#core/domain/view.ts';
import { sealContext } from '#core/seal-context.ts';
import { seal } from '#core/secrets.ts';
import { requestExec } from '#core/store/exec.ts';
import type { App, RouteDeps } from '../deps.ts';
import { invalid } from '../problem.ts';
import { requestOn, ringStack } from '../stack.ts';
import { runView } from '../views.ts';
import { problems, StackParams } from './schema.ts';

/** A state that is imported: what `plumb state export` gives out at most. */
const INPUT_LIMIT = 64 * 1024 * 1024;

const ExecBody = Type.Object(
  {
    command: Type.Array(Type.String(), {
      minItems: 1,
      maxItems: 64,
      description: 'arguments of pulumi; kept and shown, so no secret belongs in them',
    }),
    reason: Type.String({ minLength: 1, maxLength: 2000, description: 'why, for the diary' }),
    input: Type.Optional(Type.String({ minLength: 1, description: 'the state, for `stack import`' })),
  },
  { additionalProperties: false },
);

/** Break-glass: one allowed command of the engine, under the lease, with the credentials of an apply. */
export function execRoutes(app: App, deps: RouteDeps): void {
  app.post(
    '/v1/tenants/:tenant/stacks/:stack/exec',
    {
      config: { route: 'stacks.exec' },
      // JSON may write a character in six.
      bodyLimit: 2 * INPUT_LIMIT,
      schema: {
        tags: ['runs'],
        description:
          'run one command of the engine by hand, such as `state delete URN`; 409 while another run is unfinished. See docs/backends.md for what is let through',
        params: StackParams,
        body: ExecBody,
        response: { 202: RunView, ...problems },
      },
    },
    async (request, reply) => {
      const { command, reason, input } = request.body;
      const refusal = execRefusal(command, input !== undefined);
      if (refusal !== undefined) throw invalid(refusal, [{ path: 'body/command', message: refusal }]);
      if (input !== undefined && Buffer.byteLength(input) > INPUT_LIMIT)
        throw invalid('the input is larger than 64 MiB');
      const on = await requestOn(deps, request, request.params);
      const sealInput = (runId: string) =>
        seal(deps.masterKey, input ?? '', sealContext.runFile({ tenant: on.tenant, runId, kind: 'input' }));
      const run = await requestExec(deps.db, {
        ...on,
        command,
        reason,
        ...(input !== undefined && { input: sealInput }),
      });
      await ringStack(deps, on);
      return reply.code(202).send(runView(run, request.params.stack));
    },
  );
}
