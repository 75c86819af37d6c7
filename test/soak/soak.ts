import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '#core/config.ts';
import { ensureToolchain } from '../../toolchain/setup.ts';
import type { Hit } from './executioner.ts';
import { runSoak, type SoakReport } from './run-soak.ts';

/** From this many on, every kind of question must have come up. */
const MANY = 60;

function count(words: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([word, times]) => `${word} ${times}`)
    .join(', ');
}

function summary({ hits, questions, versions, writes }: SoakReport): string {
  return [
    `${hits.length} kills, ${versions} versions, ${writes} writes: nothing lost, nothing doubled, nothing applied blindly`,
    `killed: ${count(hits.map(({ victim }) => victim))}`,
    `at: ${count(hits.map(({ moment }) => moment))}`,
    `answered: ${count(questions.map((question) => question.split(' ', 1)[0] ?? ''))}`,
  ].join('\n');
}

/** A soak in which no question came up would not have tried the answers. */
function requireQuestions({ hits, questions }: SoakReport): void {
  if (hits.length < MANY) return;
  for (const answer of ['import', 'clear'])
    if (!questions.some((question) => question.startsWith(answer)))
      throw new Error(`no question was answered ${answer}`);
}

function seconds(from: number): string {
  return ((performance.now() - from) / 1000).toFixed(1);
}

/** `npm run soak -- --kills 300 --seed 1 --stacks 6`: exits 0 when nothing was lost, doubled or applied blindly. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '300' },
      seed: { type: 'string', default: '1' },
      stacks: { type: 'string', default: '6' },
    },
  });
  const toolchain = await ensureToolchain(loadConfig({}));
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-soak-'));
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort());
  const from = performance.now();
  const said = ({ number, stack, victim, moment, killed }: Hit) =>
    process.stdout.write(`${number}. ${seconds(from)} s: ${killed} at ${moment} of ${stack} (${victim})\n`);
  process.stdout.write(`in ${dir}\n`);
  const report = await runSoak({
    signal: stopping.signal,
    dir,
    toolchain,
    kills: Number(values.kills),
    seed: Number(values.seed),
    stacks: Number(values.stacks),
    onHit: said,
  });
  process.stdout.write(`${summary(report)}\nin ${seconds(from)} s\n`);
  requireQuestions(report);
  await rm(dir, { recursive: true, force: true });
}

await main().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`soak failed: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
