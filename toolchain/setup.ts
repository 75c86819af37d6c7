import type { Config } from '../core/config.ts';
import { ensureEngine, type EngineParts } from './engine.ts';
import { toolchainDirOf } from './paths.ts';
import { findPostgres } from './postgres-binaries.ts';
import { consoleProgress, type Progress } from './progress.mjs';
import { findRedis } from './redis-binary.ts';

/** Everything fetched or built, ready to start. */
export interface Toolchain {
  dir: string;
  engine: EngineParts;
}

/**
 * Makes sure that every real part the configuration asks for is here: the engine always, PostgreSQL and Redis where no URL
 * is set. Does nothing, quickly, when all is cached.
 * @throws SetupError with one sentence about what to install.
 */
export async function ensureToolchain(
  config: Pick<Config, 'PLUMBLINE_TOOLCHAIN' | 'PLUMBLINE_PULUMI' | 'DATABASE_URL' | 'REDIS_URL'>,
  onProgress: Progress = consoleProgress(),
): Promise<Toolchain> {
  const dir = toolchainDirOf(config);
  if (config.DATABASE_URL === '') await findPostgres();
  if (config.REDIS_URL === '') await findRedis(dir, onProgress);
  const engine = await ensureEngine({ toolchainDir: dir, override: config.PLUMBLINE_PULUMI, onProgress });
  return { dir, engine };
}
