import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { loadConfig } from '#core/config.ts';
import { startParts, type Parts } from '../scripts/demo/processes.ts';
import { ensureToolchain, type Toolchain } from '../toolchain/setup.ts';
import { createBare } from './bare.ts';
import { measureHooks, measureLooks, measureReconcile } from './measures.ts';
import { createPlumbline } from './plumbline.ts';
import { measurePulls } from './pull.ts';
import { createRevisions } from './revisions.ts';
import { ratioLine, ratioOf, type Compared } from './statistics.ts';

const START_MS = 60_000;
const DEFAULT_RUNS = 5;
const MAX_RUNS = 50;
/** After set-up; 50 runs take a quarter of it on a quiet machine. */
const LIMIT_MS = 60 * 60_000;

interface Options {
  runs: number;
  json: boolean;
  /** Leaves everything out but the pulls. */
  pullsOnly: boolean;
}

/** Progress goes to standard error, results to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      runs: { type: 'string' },
      json: { type: 'boolean', default: false },
      pulls: { type: 'boolean', default: false },
    },
  });
  const runs = Number(values.runs ?? DEFAULT_RUNS);
  if (!Number.isInteger(runs) || runs < 1 || runs > MAX_RUNS)
    throw new Error(`--runs takes a whole number from 1 to ${MAX_RUNS}`);
  return { runs, json: values.json, pullsOnly: values.pulls };
}

/** The registry is started without waiting for it. */
async function untilListening(registry: string, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(START_MS)]);
  while (
    !(await fetch(`http://${registry}/v2/`, { signal: limit }).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    await delay(50, undefined, { signal: limit });
  }
}

async function measure(
  dir: string,
  toolchain: Toolchain,
  parts: Parts,
  signal: AbortSignal,
  { runs, pullsOnly }: Options,
): Promise<Compared[]> {
  await untilListening(parts.registry, signal);
  const pulling = { registry: parts.registry, toolchainDir: toolchain.dir, dir: join(dir, 'pull'), signal, say };
  const pulls = await measurePulls(pulling, runs);
  if (pullsOnly) return pulls;
  const revisions = createRevisions(parts.registry, dir);
  try {
    const plumbline = await createPlumbline(parts);
    const bareDir = join(dir, 'bare');
    await mkdir(bareDir);
    const bare = await createBare(bareDir, toolchain, parts);
    say('the first revision is applied by both, which fills the caches');
    await plumbline.apply(await revisions.next(signal), signal);
    await bare.prepare(signal);
    const bench = { parts, plumbline, bare, revisions, signal, say };
    say('looks without news');
    const looks = await measureLooks(bench, runs);
    say('new revisions');
    const reconcile = await measureReconcile(bench, runs);
    say('hooks, a minute');
    return [...reconcile, ...looks, ...(await measureHooks(bench)), ...pulls];
  } finally {
    await revisions.close();
  }
}

/** Aborted by Ctrl-C, a signal, the time limit, or a process of the installation that dies. */
function endings(): AbortController {
  const ending = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(name, () => ending.abort(new Error(`ended by ${name}`)));
  return ending;
}

async function main(args: string[]): Promise<void> {
  const options = readOptions(args);
  const { json } = options;
  const ending = endings();
  const toolchain = await ensureToolchain(
    loadConfig({
      PLUMBLINE_PULUMI: process.env['PLUMBLINE_PULUMI'],
      PLUMBLINE_TOOLCHAIN: process.env['PLUMBLINE_TOOLCHAIN'],
    }),
  );
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-bench-'));
  let parts: Parts | undefined;
  let done = false;
  try {
    say('starting PostgreSQL (ours and the managed one), Redis, service, registry and worker');
    parts = await startParts(dir, toolchain);
    for (const { died } of parts.processes) died.catch((error: unknown) => ending.abort(error));
    const signal = AbortSignal.any([ending.signal, AbortSignal.timeout(LIMIT_MS)]);
    const results = await measure(dir, toolchain, parts, signal, options);
    const ratios = Object.fromEntries(results.map((result) => [result.key, Number(ratioOf(result).ratio.toFixed(3))]));
    const lines = results.map(ratioLine).join('\n');
    // What limits a ratio is in its line, so it is never left out.
    if (json) say(lines);
    process.stdout.write(`${json ? JSON.stringify({ ratios }) : lines}\n`);
    done = true;
  } catch (error) {
    // What was aborted says only that it was.
    throw ending.signal.aborted ? ending.signal.reason : error;
  } finally {
    await parts?.stop();
    if (done) await rm(dir, { recursive: true, force: true });
    else say(`logs are kept in ${dir}/logs`);
  }
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`bench failed: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
process.exit();
