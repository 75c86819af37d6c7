import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { loadConfig } from '#core/config.ts';
import { startPostgres } from '../../toolchain/postgres.ts';
import { startRedis } from '../../toolchain/redis.ts';
import { ensureToolchain } from '../../toolchain/setup.ts';
import { makeTemplate } from './template.ts';

declare module 'vitest' {
  interface ProvidedContext {
    postgresUrl: string;
    redisUrl: string;
    toolchainDir: string;
    pulumi: string;
  }
}

/** One real PostgreSQL and one real Redis for all test files; each test makes a database of its own. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const toolchain = await ensureToolchain({ ...loadConfig(process.env), DATABASE_URL: '', REDIS_URL: '' });
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-test-'));
  const postgres = await startPostgres({ dataDir: join(dir, 'postgres'), fsync: false });
  await makeTemplate(postgres.url);
  const redis = await startRedis({ dataDir: join(dir, 'redis'), toolchainDir: toolchain.dir });
  project.provide('postgresUrl', postgres.url);
  project.provide('redisUrl', redis.url);
  project.provide('toolchainDir', toolchain.dir);
  project.provide('pulumi', toolchain.engine.pulumi);
  return async () => {
    await redis.stop();
    await postgres.stop();
    await rm(dir, { recursive: true, force: true });
  };
}
