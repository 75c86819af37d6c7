import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecretKey, randomBytes } from 'node:crypto';
import { createLogger } from '../core/logger.ts';
import { createScrubber } from '../core/scrubber.ts';
import { openDatabase } from '../core/store/database.ts';
import { buildApp } from '../service/app.ts';

/** Writes docs/openapi.json from the routes' own schemas; nothing is connected to. */
async function main(): Promise<void> {
  const scrubber = createScrubber();
  const db = openDatabase('postgres://127.0.0.1:1/none');
  const nothing = () => Promise.reject(new Error('nothing is connected'));
  const app = buildApp({
    db,
    ring: { ring: nothing, waiting: nothing, ping: nothing },
    masterKey: { master: createSecretKey(randomBytes(32)) },
    logger: createLogger({ level: 'fatal', scrubber, name: 'openapi' }),
    scrubber,
    now: () => new Date(),
  });
  await app.ready();
  const file = join(import.meta.dirname, '../docs/openapi.json');
  await writeFile(file, `${JSON.stringify(app.swagger(), null, 2)}\n`);
  await app.close();
  await db.destroy();
}

await main();
