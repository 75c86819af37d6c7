import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { checkout } from './paths.ts';

/** One process kept running. */
export interface Supervised {
  name: string;
  /** Path in the checkout. */
  script: string;
  env: NodeJS.ProcessEnv;
}

/** Times of the supervisor, in milliseconds; tests shorten them. */
export interface SuperviseTimes {
  firstBackoffMs: number;
  lastBackoffMs: number;
  /** Having run this long, a process counts as healthy: its next back-off is the first again. */
  healthyMs: number;
  /** Time a process has to end after SIGTERM before it is killed. */
  stopMs: number;
}

const defaults: SuperviseTimes = { firstBackoffMs: 1000, lastBackoffMs: 30_000, healthyMs: 60_000, stopMs: 120_000 };
const maxQuickDeaths = 6;

/** How the processes are asked to end. */
export interface SuperviseOptions {
  /** Ends them in order. */
  stop: AbortSignal;
  /** Kills at once what `stop` has not ended yet. */
  force: AbortSignal;
  times?: SuperviseTimes;
}

/**
 * Runs the processes until `stop` is aborted and starts each again when it dies, with a growing pause. When stopping, the
 * last one is ended first.
 * @returns 0 when it was asked to stop and all ended in time; 1 when a process had to be killed or does not stay up.
 */
export async function supervise(
  processes: Supervised[],
  { stop, force, times = defaults }: SuperviseOptions,
): Promise<number> {
  if (stop.aborted) return 0;
  const failure = new AbortController();
  const keepers = processes.map((process) => {
    const stopping = new AbortController();
    return { stopping, ended: keep(process, { stop: stopping.signal, force, times }, failure) };
  });
  await untilAborted(AbortSignal.any([stop, failure.signal]));
  const clean: boolean[] = [];
  for (const { stopping, ended } of keepers.toReversed()) {
    stopping.abort();
    clean.push(await ended);
  }
  return clean.every(Boolean) && !failure.signal.aborted ? 0 : 1;
}

async function keep(
  process: Supervised,
  { stop, force, times }: Required<SuperviseOptions>,
  failure: AbortController,
): Promise<boolean> {
  const stopped = untilAborted(stop);
  let quickDeaths = 0;
  while (!stop.aborted) {
    const startMs = performance.now();
    const child = start(process);
    const exited = untilExit(child);
    await Promise.race([exited, stopped]);
    if (stop.aborted)
      return await end(process, child, exited, AbortSignal.any([force, AbortSignal.timeout(times.stopMs)]));
    quickDeaths = performance.now() - startMs < times.healthyMs ? quickDeaths + 1 : 1;
    if (quickDeaths >= maxQuickDeaths) {
      console.error(
        `${process.name} died ${quickDeaths} times in a row (last: ${await exited}); giving up, see its output above`,
      );
      failure.abort();
      return false;
    }
    const pauseMs = Math.min(times.firstBackoffMs * 2 ** (quickDeaths - 1), times.lastBackoffMs);
    console.error(`${process.name} died (${await exited}); starting it again in ${pauseMs / 1000} s`);
    await delay(pauseMs, undefined, { signal: stop }).catch(() => undefined);
  }
  return true;
}

/**
 * In a process group of its own: a terminal's Ctrl-C goes to the supervisor alone, which ends the processes in order. Over
 * the channel the process hears of the supervisor's death (`endWithParent`).
 */
function start({ script, env }: Supervised): ChildProcess {
  const stdio = ['inherit', 'inherit', 'inherit', 'ipc'] as const;
  return spawn(process.execPath, [join(checkout, script)], { cwd: checkout, env, stdio: [...stdio], detached: true });
}

async function untilExit(child: ChildProcess): Promise<string> {
  return await new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) =>
      resolve(code === null ? `signal ${signal ?? 'unknown'}` : `exit code ${code}`),
    );
  });
}

async function end(
  { name }: Supervised,
  child: ChildProcess,
  exited: Promise<string>,
  kill: AbortSignal,
): Promise<boolean> {
  child.kill('SIGTERM');
  const inTime = await Promise.race([exited.then(() => true), untilAborted(kill).then(() => false)]);
  if (inTime) return true;
  console.error(`${name} has not ended yet; killing it`);
  child.kill('SIGKILL');
  await exited;
  return false;
}

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}
