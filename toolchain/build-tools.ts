import { setPriority } from 'node:os';
import { loadConfig } from '../core/config.ts';
import { ensureDockerRegistry } from './docker-registry.ts';
import { ensureTool, TOOLS } from './go-tools.ts';
import { toolchainDirOf } from './paths.ts';
import { consoleProgress } from './progress.mjs';

/** Behind the tests that run meanwhile, and not so far that those that wait for a program starve. */
const NICE = 5;

/**
 * Gets the programs of the e2e tests one after the other. What fails here is told by the test that needs it, which tries
 * again.
 */
async function main(): Promise<void> {
  setPriority(NICE);
  const dir = toolchainDirOf(loadConfig(process.env));
  const progress = consoleProgress();
  await ensureDockerRegistry(dir, progress).catch(() => undefined);
  for (const name of TOOLS) await ensureTool(name, dir, progress).catch(() => undefined);
}

await main();
