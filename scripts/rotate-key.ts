import { access, link, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { loadConfig, ConfigError } from '../core/config.ts';
import { loadMasterKey } from '../core/secrets.ts';
import { migrateToLatest, openDatabase } from '../core/store/database.ts';
import { rotateMasterKey } from '../core/store/rotate-key.ts';
import { liveWorkers } from '../core/store/workers.ts';
import { syncDirectory } from '../core/sync-directory.ts';
import { connectEmbedded } from '../toolchain/embedded.ts';
import { exitWith } from '../toolchain/setup-error.ts';

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * `npm run rotate-key`: a new master key, with service and workers stopped. The former one is kept beside it, for copies of the
 * database of before. Cut off at any point, it goes on where it was when it is run again.
 */
async function main(): Promise<number> {
  const config = loadConfig(process.env);
  const next = `${config.keyFile}.next`;
  const former = `${config.keyFile}.${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
  if (!(await isThere(config.keyFile)))
    throw new ConfigError(`there is no key file ${config.keyFile}; see PLUMBLINE_KEY_FILE`);
  const from = await loadMasterKey(config.keyFile, config.dataDir);
  const to = await loadMasterKey(next, config.dataDir);
  // The next key must outlive a loss of power that the database outlives.
  await syncDirectory(dirname(next));
  const servers = await connectEmbedded(config);
  const db = openDatabase(servers.databaseUrl);
  try {
    await migrateToLatest(db);
    const [worker] = await liveWorkers(db);
    if (worker !== undefined)
      throw new ConfigError(`worker ${worker.id} is alive; stop service and workers, wait a minute, and try again`);
    const changed = await rotateMasterKey(db, from, to);
    await link(config.keyFile, former);
    await rename(next, config.keyFile);
    console.log(
      `${changed} sealed rows are under the new master key. The former one is ${former}: copies of the database of before need it.`,
    );
    return 0;
  } finally {
    await db.destroy();
    await servers.release();
  }
}

await exitWith(main);
