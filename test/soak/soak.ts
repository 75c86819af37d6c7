import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '#core/config.ts';
import { ensureToolchain } from '../../toolchain/setup.ts';
import { runSoak } from './run-soak.ts';

/** `npm run soak -- --kills 60 --seed 1`: exits 0 when nothing was lost or doubled. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { kills: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
  });
  const toolchain = await ensureToolchain(loadConfig({}));
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-soak-'));
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());
  const reports = await runSoak({
    signal: stopping.signal,
    dir,
    toolchain,
    kills: Number(values.kills),
    seed: Number(values.seed),
    onKill: (report) => {
      const asked = report.questions.length > 0 ? `; asked: ${report.questions.join(', ')}` : '';
      process.stdout.write(
        `${report.number}. ${report.victim} while ${report.moment}: ${report.killed ?? 'not there'} (${report.seconds.toFixed(1)} s)${asked}\n`,
      );
    },
  });
  const hits = reports.filter((report) => report.killed !== undefined).length;
  process.stdout.write(
    `${hits} kills, nothing lost, nothing doubled, ${reports.flatMap((report) => report.questions).length} questions answered\n`,
  );
  await rm(dir, { recursive: true, force: true });
}

await main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`soak failed: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
