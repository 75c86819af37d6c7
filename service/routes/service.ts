import { Type } from 'typebox';
import { sql } from 'kysely';
import type { App, RouteDeps } from '../deps.ts';
import { Problem } from '../problem.ts';
import { problems } from './schema.ts';

/** Milliseconds a dependency has to answer `/readyz`. */
const READY_LIMIT_MS = 2000;

async function isReady(name: string, check: Promise<unknown>): Promise<string[]> {
  const late = AbortSignal.timeout(READY_LIMIT_MS);
  const limit = new Promise<never>((_resolve, reject) => {
    late.addEventListener('abort', () => reject(new Error('late')), { once: true });
  });
  return Promise.race([check, limit]).then(
    () => [],
    () => [name],
  );
}

/** What the process tells about itself. */
export function serviceRoutes(app: App, deps: RouteDeps): void {
  const State = Type.Object({ status: Type.String() });

  app.get(
    '/healthz',
    { config: { route: 'healthz' }, schema: { tags: ['service'], security: [], response: { 200: State } } },
    () => ({ status: 'alive' }),
  );

  app.get(
    '/readyz',
    { config: { route: 'readyz' }, schema: { tags: ['service'], security: [], response: { 200: State, ...problems } } },
    async () => {
      const checks = [isReady('PostgreSQL', sql`select 1`.execute(deps.db)), isReady('Redis', deps.ring.ping())];
      const failed = (await Promise.all(checks)).flat();
      if (failed.length > 0) throw new Problem('unavailable', `no answer from ${failed.join(' and ')}`);
      return { status: 'ready' };
    },
  );

  app.get(
    '/metrics',
    {
      config: { route: 'metrics' },
      schema: { tags: ['service'], description: 'Prometheus text; for a token of the whole installation' },
    },
    async (_request, reply) => reply.type(deps.metrics.contentType).send(await deps.metrics.scrape(deps.db, deps.ring)),
  );

  app.get('/openapi.json', { config: { route: 'openapi' }, schema: { tags: ['service'], security: [] } }, () =>
    app.swagger(),
  );
}
