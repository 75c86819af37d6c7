import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '#core/config.ts';
import { ensureToolchain, type Toolchain } from '../toolchain/setup.ts';
import { heading, say, step } from './demo/print.ts';
import { startParts, type Parts } from './demo/processes.ts';
import { tell } from './demo/story.ts';
import { warmDependencies } from './demo/warm.ts';

/** Resolves at the first Ctrl-C or SIGTERM. */
function interruption(): Promise<'interrupted'> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve('interrupted'));
  });
}

async function leaveRunning(parts: Parts, dir: string, interrupted: Promise<unknown>): Promise<void> {
  heading('left running (--keep); Ctrl-C stops everything');
  say(`export PLUMBLINE_URL=${parts.api.url} PLUMBLINE_TOKEN=${parts.token}`);
  say(`registry http://${parts.registry}, managed cluster on port ${parts.target.cluster.port}, logs in ${dir}/logs`);
  await interrupted;
}

async function setUp(signal: AbortSignal): Promise<Toolchain> {
  // The demo's own parts, whatever the shell is configured for.
  const toolchain = await ensureToolchain(
    loadConfig({
      PLUMBLINE_PULUMI: process.env['PLUMBLINE_PULUMI'],
      PLUMBLINE_TOOLCHAIN: process.env['PLUMBLINE_TOOLCHAIN'],
    }),
  );
  await step("the program's dependencies, by its lock file", () => warmDependencies(toolchain, signal));
  return toolchain;
}

async function play(interrupted: Promise<'interrupted'>, keep: boolean): Promise<number> {
  heading('Set-up');
  const stopping = new AbortController();
  void interrupted.then(() => stopping.abort());
  const toolchain = await Promise.race([setUp(stopping.signal), interrupted]);
  if (toolchain === 'interrupted') return 130;
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-demo-'));
  const from = performance.now();
  let parts: Parts | undefined;
  let failed = true;
  try {
    heading('The story');
    parts = await step('start PostgreSQL (ours and the managed one), Redis, service, registry and worker', () =>
      startParts(dir, toolchain),
    );
    const ends = [interrupted, ...parts.processes.map((process) => process.died)];
    const end = await Promise.race([tell(parts, dir).then(() => 'told' as const), ...ends]);
    if (end === 'interrupted') return 130;
    heading(`Done in ${((performance.now() - from) / 1000).toFixed(1)} s.`);
    if (keep) await leaveRunning(parts, dir, Promise.race(ends));
    failed = false;
    return 0;
  } finally {
    await parts?.stop();
    if (failed) say(`logs are kept in ${dir}/logs`);
    else await rm(dir, { recursive: true, force: true });
  }
}

const keep = process.argv.includes('--keep');
try {
  process.exitCode = await play(interruption(), keep);
} catch (error) {
  process.stderr.write(`\ndemo failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
