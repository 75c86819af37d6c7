import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../core/config.ts';
import { keepRunning, type KeptServer } from './keep-running.ts';
import { toolchainDirOf } from './paths.ts';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import { SetupError } from './setup-error.ts';

/** Where the database and Redis of this configuration are. */
export interface EmbeddedServers {
  databaseUrl: string;
  redisUrl: string;
  /** Ends this process's use of what is embedded; the last user's release stops it. */
  release(): Promise<void>;
}

type Settings = Pick<Config, 'DATABASE_URL' | 'REDIS_URL' | 'PLUMBLINE_TOOLCHAIN' | 'dataDir'>;

/**
 * The configured database and Redis, or the embedded ones of the data folder: started, or attached to when another process
 * runs them already, and started again when they die.
 */
export async function connectEmbedded(config: Settings): Promise<EmbeddedServers> {
  const postgres = config.DATABASE_URL === '' ? await keepPostgres(config) : undefined;
  try {
    const redis = config.REDIS_URL === '' ? await keepRedis(config) : undefined;
    return {
      databaseUrl: postgres?.url ?? config.DATABASE_URL,
      redisUrl: redis?.url ?? config.REDIS_URL,
      release: async () => {
        await redis?.stop();
        await postgres?.stop();
      },
    };
  } catch (error) {
    await postgres?.stop();
    throw error;
  }
}

/** Makes the data folder, for nobody else's eyes. @throws SetupError when it cannot be made or written */
export async function requireDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await access(dataDir, constants.W_OK | constants.X_OK);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new SetupError(
      `the data folder ${dataDir} cannot be used (${why}): set PLUMBLINE_DATA to a folder that can be written`,
      {
        cause: error,
      },
    );
  }
}

function keepPostgres({ dataDir }: Settings): Promise<KeptServer> {
  const options = { dataDir: join(dataDir, 'postgres'), database: 'plumbline' };
  return keepRunning('PostgreSQL', () => startPostgres(options), console.error);
}

function keepRedis(config: Settings): Promise<KeptServer> {
  const options = { dataDir: join(config.dataDir, 'redis'), toolchainDir: toolchainDirOf(config) };
  return keepRunning('Redis', () => startRedis(options), console.error);
}
