import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { Logger } from 'pino';
import type { Ring } from '#core/queue.ts';
import type { Scrubber } from '#core/scrubber.ts';
import type { MasterKey } from '#core/secrets.ts';
import type { Database } from '#core/store/database.ts';
import type { ServiceMetrics } from './metrics.ts';
import type { IdentityIssuer } from './oidc/issuer.ts';

/** Everything the service needs, built once in `main.ts` or by a test. */
export interface ServiceDeps {
  db: Database;
  /** The doorbell; one that is out of order costs only time, the sweep finds what is due. */
  ring: Pick<Ring, 'ring' | 'ping' | 'waiting'>;
  masterKey: MasterKey;
  logger: Logger;
  /** Learns every secret the moment it is read. */
  scrubber: Pick<Scrubber, 'register'>;
  /** Mints identity tokens; absent where the installation has no public URL. */
  identityIssuer?: IdentityIssuer | undefined;
  /** For what is shown (ages); what decides takes the database's clock. */
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
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;
