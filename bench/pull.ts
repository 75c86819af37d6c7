import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureTool } from '../toolchain/go-tools.ts';
import { timed } from './command.ts';
import { FILLING, inParallel, pushFolders } from './pull-artifacts.ts';
import { watchMemory } from './pull-memory.ts';
import type { PullOrder } from './pull-ours.ts';
import type { Compared } from './statistics.ts';

const MIB = 1024 * 1024;
const LIMIT_MS = 300_000;
const MIN_RUNS = 3;

/** What is pulled: many small artifacts, and one that is large. */
const LOADS = [
  { key: 'pull1000', name: '1,000 artifacts of 4 KiB', count: 1_000, bytes: 4 * 1024, atOnce: 4 },
  { key: 'pull200MB', name: 'one artifact of 200 MB', count: 1, bytes: 200_000_000, atOnce: 1 },
] as const;
type Load = (typeof LOADS)[number];

interface Pulled {
  ms: number;
  mib: number;
}

export interface PullBench {
  /** `host:port` of the registry that both pull from. */
  registry: string;
  toolchainDir: string;
  /** Scratch folder. */
  dir: string;
  signal: AbortSignal;
  say(text: string): void;
}

async function assertPulled(folder: string, { bytes }: Load): Promise<void> {
  const { size } = await stat(join(folder, FILLING));
  if (size !== bytes) throw new Error(`${folder} was pulled with ${size} of ${bytes} bytes`);
}

/** One process of ours that pulls everything. */
async function pullOurs(bench: PullBench, load: Load, tags: string[], name: string): Promise<Pulled> {
  const dir = join(bench.dir, 'ours');
  const memory = watchMemory();
  const order: PullOrder = { host: bench.registry, name, tags, dir, atOnce: load.atOnce };
  try {
    const { ms, output } = await timed(process.execPath, [join(import.meta.dirname, 'pull-ours.ts')], {
      ...common(bench),
      input: JSON.stringify(order),
      onStart: memory.add,
    });
    await assertPulled(output.trim(), load);
    return { ms, mib: memory.peakMib() };
  } finally {
    memory.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

/** `oras pull` of each, as many at a time as ours pulls. */
async function pullWithOras(bench: PullBench, load: Load, tags: string[], name: string, oras: string): Promise<Pulled> {
  const dir = join(bench.dir, 'oras');
  const memory = watchMemory();
  try {
    const from = performance.now();
    await inParallel(tags, load.atOnce, async (tag) => {
      const args = ['pull', '--plain-http', '--no-tty', '-o', join(dir, tag), `${bench.registry}/${name}:${tag}`];
      await timed(oras, args, { ...common(bench), onStart: memory.add });
    });
    const ms = performance.now() - from;
    await assertPulled(join(dir, tags.at(-1) ?? ''), load);
    return { ms, mib: memory.peakMib() };
  } finally {
    memory.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

function common({ dir, signal }: PullBench) {
  return { cwd: dir, env: { HOME: dir, PATH: process.env['PATH'] ?? '' }, limitMs: LIMIT_MS, signal };
}

function compared(load: Load, ours: Pulled[], peer: Pulled[]): Compared[] {
  const name = `${load.name} ÷ oras pull`;
  const at = load.atOnce === 1 ? '' : `, ${load.atOnce} at once, ours in one process, oras in one for each`;
  const figure = 'median';
  const times = { ours: ours.map(({ ms }) => ms), peer: peer.map(({ ms }) => ms) };
  const memory = { ours: ours.map(({ mib }) => mib), peer: peer.map(({ mib }) => mib) };
  return [
    { key: load.key, name, ...times, figure, note: `both check digests and unpack${at}` },
    {
      key: `${load.key}Memory`,
      name: `memory of ${name}`,
      ...memory,
      figure,
      unit: 'MiB',
      note: `peak of resident memory, all processes that ran at once${at}`,
    },
  ];
}

/** Pulling of many small and one large artifact ÷ `oras pull` of the same, in turn: time and peak memory. */
export async function measurePulls(bench: PullBench, runs: number): Promise<Compared[]> {
  const oras = await ensureTool('oras', bench.toolchainDir);
  await mkdir(bench.dir, { recursive: true });
  const results: Compared[] = [];
  for (const load of LOADS) {
    const name = `bench/${load.key.toLowerCase()}`;
    bench.say(`pushing ${load.name}`);
    const tags = await pushFolders({ host: bench.registry, name }, load, bench.signal);
    const [ours, peer]: [Pulled[], Pulled[]] = [[], []];
    for (let run = 1; run <= Math.max(runs, MIN_RUNS); run += 1) {
      const mine = await pullOurs(bench, load, tags, name);
      const theirs = await pullWithOras(bench, load, tags, name, oras);
      ours.push(mine);
      peer.push(theirs);
      const told = [mine, theirs].map(({ ms, mib }) => `${ms.toFixed(0)} ms, ${mib.toFixed(0)} MiB`);
      bench.say(`pull ${run}, ${Math.round((load.bytes * load.count) / MIB)} MiB: ${told.join(' : ')}`);
    }
    results.push(...compared(load, ours, peer));
  }
  return results;
}
