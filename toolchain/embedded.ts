import { join } from 'node:path';
import type { Config } from '../core/config.ts';
import { toolchainDirOf } from './paths.ts';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';

/** Where the database and Redis of this configuration are. */
export interface EmbeddedServers {
  databaseUrl: string;
  redisUrl: string;
  /** Ends this process's use of what is embedded; the last user's release stops it. */
  release(): Promise<void>;
}

/**
 * The configured database and Redis, or the embedded ones of the data folder: started, or attached to when another process
 * runs them already.
 */
export async function connectEmbedded(
  config: Pick<Config, 'DATABASE_URL' | 'REDIS_URL' | 'PLUMBLINE_TOOLCHAIN' | 'dataDir'>,
): Promise<EmbeddedServers> {
  const postgres =
    config.DATABASE_URL === ''
      ? await startPostgres({ dataDir: join(config.dataDir, 'postgres'), database: 'plumbline' })
      : undefined;
  try {
    const redis =
      config.REDIS_URL === ''
        ? await startRedis({ dataDir: join(config.dataDir, 'redis'), toolchainDir: toolchainDirOf(config) })
        : undefined;
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
