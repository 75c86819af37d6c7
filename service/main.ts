import closeWithGrace from 'close-with-grace';
import { loadConfig, type Config } from '#core/config.ts';
import { createLogger } from '#core/logger.ts';
import { createRing } from '#core/queue.ts';
import { createScrubber } from '#core/scrubber.ts';
import { loadMasterKey } from '#core/secrets.ts';
import { migrateToLatest, openDatabase } from '#core/store/database.ts';
import { requireMasterKey } from '#core/store/tenants.ts';
import { failStart } from '../toolchain/setup-error.ts';
import { connectEmbedded } from '../toolchain/embedded.ts';
import { endWithParent } from '../toolchain/end-with-parent.ts';
import { buildApp } from './app.ts';
import { prepareInstallation } from './first-start.ts';
import { openIssuer } from './oidc/issuer.ts';

/** How long requests under way may take after the signal, in milliseconds. */
const CLOSE_MS = 10_000;

/** The service process: the HTTP API over PostgreSQL and Redis, the configured or the embedded ones. */
async function main(): Promise<void> {
  endWithParent();
  const config = loadConfig(process.env);
  const scrubber = createScrubber();
  const logger = createLogger({ level: config.PLUMBLINE_LOG_LEVEL, scrubber, name: 'service' });
  const masterKey = await loadMasterKey(config.keyFile, config.dataDir);
  const servers = await connectEmbedded(config);
  // From here on there is something to end in order, also when the rest of the start fails: the last opened first.
  const open: (() => Promise<unknown>)[] = [servers.release];
  closeWithGrace({ delay: CLOSE_MS, logger }, async ({ err }) => {
    if (err !== undefined) logger.fatal({ err, reason: 'InternalError' }, `the service stops: ${explain(err, config)}`);
    for (const close of open.toReversed()) await close();
  });
  const db = openDatabase(servers.databaseUrl, {
    onConnectionError: (error) => logger.warn({ err: error }, 'a database connection broke'),
  });
  open.push(() => db.destroy());
  await migrateToLatest(db);
  await requireMasterKey(db, masterKey, config.keyFile);
  const ring = createRing(servers.redisUrl, logger);
  open.push(() => ring.close());
  const identityIssuer = await openIssuer(config);
  const app = buildApp({ db, ring, masterKey, logger, scrubber, identityIssuer, now: () => new Date() });
  open.push(() => app.close());
  const url = await app.listen({ host: config.PLUMBLINE_LISTEN_HOST, port: config.PLUMBLINE_LISTEN_PORT });
  // Not before: a port that is taken would leave a token nobody has seen.
  const token = await prepareInstallation(db, masterKey);
  logger.info({ url }, 'service ready');
  if (token !== undefined) console.log(`First start. Token of the administrator, shown this once: ${token}`);
}

/** What to do about the failures a start meets most. */
function explain(error: Error, config: Config): string {
  const origin = error.cause instanceof Error ? error.cause : error;
  const code = 'code' in origin ? origin.code : undefined;
  if (code === 'EADDRINUSE') return `port ${config.PLUMBLINE_LISTEN_PORT} is taken; set PLUMBLINE_LISTEN_PORT`;
  if (code === 'ECONNREFUSED') return 'the database does not answer; is DATABASE_URL right?';
  return error.message;
}

await main().catch(failStart);
