import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../core/config.ts';
import { checkout } from './paths.ts';
import { ensureToolchain } from './setup.ts';
import { exitWith } from './setup-error.ts';

/** `npm test`: the toolchain first, then every vitest project; arguments go to vitest. */
async function main(): Promise<number> {
  await ensureToolchain({ ...loadConfig(process.env), DATABASE_URL: '', REDIS_URL: '' });
  const vitest = join(checkout, 'node_modules', 'vitest', 'vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', ...process.argv.slice(2)], { cwd: checkout, stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

await exitWith(main);
