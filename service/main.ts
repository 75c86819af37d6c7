import closeWithGrace from 'close-with-grace';
import { loadConfig } from '#core/config.ts';
import { createLogger } from '#core/logger.ts';
import { createRing } from '#core/queue.ts';
import { createScrubber } from '#core/scrubber.ts';
import { loadMasterKey } from '#core/secrets.ts';
import { migrateToLatest, openDatabase } from '#core/store/database.ts';
import { connectEmbedded } from '../toolchain/embedded.ts';
import { buildApp } from './app.ts';
import { prepareInstallation } from './first-start.ts';

/** How long requests under way may take after the signal, in milliseconds. */
const CLOSE_MS = 10_000;

/** The service process: the HTTP API over PostgreSQL and Redis, the configured or the embedded ones. */
async function main(): Promise<void> {
  const config = loadConfig(process.env);
  const scrubber = createScrubber();
  const logger = createLogger({ level: config.PLUMBLINE_LOG_LEVEL, scrubber, name: 'service' });
  const masterKey = await loadMasterKey(config.keyFile, config.dataDir);
  const servers = await connectEmbedded(config);
  const db = openDatabase(servers.databaseUrl, {
    onConnectionError: (error) => logger.warn({ err: error }, 'a database connection broke'),
  });
  await migrateToLatest(db);
  const ring = createRing(servers.redisUrl, logger);
  const app = buildApp({ db, ring, masterKey, logger, scrubber, now: () => new Date() });
  closeWithGrace({ delay: CLOSE_MS, logger }, async ({ err }) => {
    if (err !== undefined) logger.error({ err, reason: 'InternalError' }, 'the service stops because of a defect');
    await app.close();
    await ring.close();
    await db.destroy();
    await servers.release();
  });
  const url = await app.listen({ host: config.PLUMBLINE_LISTEN_HOST, port: config.PLUMBLINE_LISTEN_PORT });
  // Not before: a port that is taken would leave a token nobody has seen.
  const token = await prepareInstallation(db, masterKey);
  logger.info({ url }, 'service ready');
  if (token !== undefined) console.log(`First start. Token of the administrator, shown this once: ${token}`);
}

await main();
