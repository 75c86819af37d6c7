import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../core/config.ts';
import { checkout } from './paths.ts';
import { signalProcess } from './process.ts';
import { ensureToolchain } from './setup.ts';
import { exitWith } from './setup-error.ts';

/** Gets the tools of the e2e tests while others run: where none is cached that takes minutes of one core. */
function startBuildingTools(): { stop(): void } {
  const script = join(import.meta.dirname, 'build-tools.ts');
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'inherit', 'inherit'], detached: true });
  child.on('error', () => undefined);
  return {
    // With its compilers: the whole group.
    stop: () => {
      if (child.pid !== undefined && child.exitCode === null) signalProcess(-child.pid, 'SIGTERM');
    },
  };
}

/** `npm test`: the toolchain first, then every vitest project; arguments go to vitest. */
async function main(): Promise<number> {
  await ensureToolchain({ ...loadConfig(process.env), DATABASE_URL: '', REDIS_URL: '' });
  const args = process.argv.slice(2);
  const tools = args.length === 0 || args.includes('e2e') ? startBuildingTools() : undefined;
  const vitest = join(checkout, 'node_modules', 'vitest', 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', ...args], { cwd: checkout, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    tools?.stop();
  }
}

await exitWith(main);
