import { randomUUID } from 'node:crypto';
import swagger from '@fastify/swagger';
import { TypeBoxValidatorCompiler, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, { LogController, type FastifyBaseLogger, type FastifyError } from 'fastify';
import { guardRoutes } from './auth.ts';
import type { App, RouteDeps, ServiceDeps } from './deps.ts';
import { createServiceMetrics } from './metrics.ts';
import { openApi } from './openapi.ts';
import { asProblem, notFound, Problem, sendProblem } from './problem.ts';
import { registerRoutes } from './routes/table.ts';

/** Bytes of a body; hooks have their own limit. */
const BODY_LIMIT = 1024 * 1024;

const TIMEOUTS = {
  requestTimeout: 30_000,
  connectionTimeout: 60_000,
  keepAliveTimeout: 10_000,
  handlerTimeout: 20_000,
};

function answerErrors(app: App): void {
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, notFound(`${request.method} ${request.url}`)));
  app.setErrorHandler<FastifyError>((error, request, reply) => {
    const problem = asProblem(error);
    if (problem?.code === 'unavailable') request.log.warn({ err: error }, 'a dependency does not answer');
    if (problem !== undefined) return sendProblem(request, reply, problem);
    request.log.error({ err: error }, 'a request failed');
    const detail = `this is a defect; the log of the service has more under the request id ${request.id}`;
    return sendProblem(request, reply, new Problem('internal', detail));
  });
}

/** Counts and logs each answer. The path of a hook is as good as a password, so it is not logged. */
function recordAnswers(app: App, deps: RouteDeps): void {
  app.addHook('onResponse', async (request, reply) => {
    const { config, url: pattern } = request.routeOptions;
    const { method } = request;
    const route = config.route ?? 'none';
    const status = reply.statusCode;
    deps.metrics.requests.observe({ route, method, status: String(status) }, reply.elapsedTime / 1000);
    const isRoutine = status < 400 && (method === 'GET' || route === 'hook');
    const url = route === 'hook' ? pattern : request.url;
    request.log[isRoutine ? 'debug' : 'info'](
      { route, method, url, status, ms: Math.round(reply.elapsedTime) },
      'answered',
    );
  });
}

/** Builds the HTTP service; nothing listens yet. Routes, their schemas and the authorization table are checked at `ready()`. */
export function buildApp(base: ServiceDeps): App {
  const deps: RouteDeps = { ...base, metrics: createServiceMetrics() };
  const loggerInstance: FastifyBaseLogger = deps.logger;
  const app = fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    ...TIMEOUTS,
    http: { headersTimeout: 10_000, maxHeaderSize: 32 * 1024 },
    routerOptions: { maxParamLength: 256 },
    exposeHeadRoutes: false,
    forceCloseConnections: 'idle',
    // A name of the sender's choice would let it write into our log.
    requestIdHeader: false,
    genReqId: () => randomUUID(),
    frameworkErrors: (_error, request, reply) => {
      void sendProblem(request, reply, new Problem('malformed', 'the URL cannot be read'));
    },
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.setValidatorCompiler(TypeBoxValidatorCompiler);
  app.addHook('onSend', async (request, reply) => {
    void reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff');
    if (!reply.hasHeader('cache-control')) void reply.header('cache-control', 'no-store');
  });
  answerErrors(app);
  recordAnswers(app, deps);
  guardRoutes(app, deps);
  void app.register(swagger, openApi);
  void app.register(async (scope) => registerRoutes(scope.withTypeProvider<TypeBoxTypeProvider>(), deps));
  return app;
}
