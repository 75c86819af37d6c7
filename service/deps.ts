import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance, RawReplyDefaultExpression, RawRequestDefaultExpression, RawServerDefault } from 'fastify';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { Config } from '#core/config.ts';
import type { Ring } from '#core/queue.ts';
import type { MasterKey } from '#core/secrets.ts';
import type { Schema } from '#core/store/schema.ts';
import type { ServiceMetrics } from './metrics.ts';

/** Everything the service needs, built once in `main.ts` or by a test. */
export interface ServiceDeps {
  db: Kysely<Schema>;
  /** The doorbell; a failing one costs only time, the sweep finds what is due. */
  ring: Ring['ring'];
  /** Whether Redis answers, for `/readyz`. */
  pingRedis(): Promise<void>;
  masterKey: MasterKey;
  logger: Logger;
  config: Config;
  now(): Date;
}

/** What the routes get: the deps and the process's own meters. */
export interface RouteDeps extends ServiceDeps {
  metrics: ServiceMetrics;
}

/** A server whose handlers are typed by their TypeBox schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  Logger,
  TypeBoxTypeProvider
>;
