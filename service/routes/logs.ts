import { Readable } from 'node:stream';
import { Type } from 'typebox';
import { readLog } from '#core/store/logs.ts';
import type { App, RouteDeps } from '../deps.ts';
import { FOLLOW_MS, followLog } from '../follow-log.ts';
import { Problem } from '../problem.ts';
import { requireRun } from '../stack.ts';
import { problems, RunParams } from './schema.ts';

/** Each follower asks the database more than once a second, so there is an end to them. */
const MAX_FOLLOWERS = 100;

const LogQuery = Type.Object(
  {
    follow: Type.Optional(
      Type.Boolean({
        description: 'stream what comes as server-sent events `output`, then `end`; `Last-Event-ID` resumes',
      }),
    ),
  },
  { additionalProperties: false },
);

/** The piece a follower has seen; what is no id of ours starts at the beginning. */
function lastSeen(header: string | string[] | undefined): string {
  return typeof header === 'string' && /^\d{1,18}$/.test(header) ? header : '0';
}

/** Output of a run, as it is or as it comes. */
export function logRoutes(app: App, deps: RouteDeps): void {
  const closing = new AbortController();
  let followers = 0;
  // A stream that is still read would keep the service from stopping.
  app.addHook('preClose', async () => closing.abort());
  app.get(
    '/v1/tenants/:tenant/stacks/:stack/runs/:number/log',
    {
      config: { route: 'runs.log' },
      handlerTimeout: FOLLOW_MS + 60_000,
      schema: {
        tags: ['runs'],
        description: 'output of the engine, bounded and scrubbed',
        params: RunParams,
        querystring: LogQuery,
        response: {
          200: {
            content: {
              'text/plain': { schema: Type.String() },
              'text/event-stream': { schema: Type.Unsafe<Readable>({ type: 'string' }) },
            },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const run = await requireRun(deps, request.params);
      const at = { tenant: run.tenant, runId: run.id };
      if (request.query.follow !== true)
        return reply.type('text/plain; charset=utf-8').send(await readLog(deps.db, at));
      if (followers >= MAX_FOLLOWERS) throw new Problem('unavailable', 'too many follow logs already; try again');
      const gone = new AbortController();
      const { socket } = request.raw;
      // The pings are further apart than the time a silent connection is given.
      socket.setTimeout(0);
      const after = lastSeen(request.headers['last-event-id']);
      const signal = AbortSignal.any([gone.signal, closing.signal]);
      const stream = Readable.from(followLog(deps.db, { ...at, after }, signal), { objectMode: false });
      followers += 1;
      const leave = () => gone.abort();
      socket.once('close', leave);
      stream.once('close', () => {
        followers -= 1;
        socket.off('close', leave);
      });
      return reply.type('text/event-stream; charset=utf-8').header('x-accel-buffering', 'no').send(stream);
    },
  );
}
