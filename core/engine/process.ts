import { setTimeout as delay } from 'node:timers/promises';
import { ReconcileError, stalled, transient } from '../domain/errors.ts';
import { startGroup } from './guardian/group.ts';
import type { Excess } from './guardian/limits.ts';
import type { Grace, NamespaceNetwork } from './guardian/protocol.ts';
import { startGuarded, type Ending, type Watched } from './guardian/start.ts';
import { isNamespaceEmpty } from './namespace.ts';
import { collectOutput, type CollectedOutput } from './output.ts';
import type { GuardHooks, ProcessLimits } from './port.ts';
import type { Sandbox } from './sandbox.ts';

export interface EngineProcessOptions {
  /** Absolute path, visible in the sandbox. */
  command: string;
  /** Never holds a secret: every process of the machine can read it. */
  args: string[];
  /** Visible in the sandbox. */
  cwd: string;
  /** The whole environment, from an allow-list; see environment.ts. */
  env: Record<string, string>;
  /** Gives the host name `plumb-<runId>`, by which a lock file of this run is told from others. */
  runId: string;
  sandbox: Sandbox;
  guard: GuardHooks;
  timeoutMs: number;
  /** An abort stops the process politely. A `ReconcileError` as its reason is what is thrown then. */
  signal: AbortSignal;
  /** Of both streams together. */
  maxOutputBytes: number;
  onOutput(text: string): void;
  /** `none`: a process group, no sandbox, and no proof of death. */
  isolation: 'namespaces' | 'none';
  /** Between SIGINT, SIGINT and kill; default 10 s and 5 s. */
  graceMs?: Grace;
  /** Kept by the guardian, so only in namespaces; default `DEFAULT_LIMITS`. */
  limits?: ProcessLimits;
  /** A network of its own, out of which only this leads; absent: the worker's network. Only in namespaces. */
  network?: NamespaceNetwork;
}

/** The defaults of PLUMBLINE_RUN_MEMORY_MB, PLUMBLINE_RUN_PROCESSES and PLUMBLINE_RUN_FILE_MB. */
export const DEFAULT_LIMITS: ProcessLimits = {
  memoryBytes: 4_096 * 1024 ** 2,
  processes: 1_024,
  fileBytes: 2_048 * 1024 ** 2,
};

export interface EngineProcessResult extends CollectedOutput {
  /** 128 + the signal's number when a signal ended it. */
  code: number;
  signal: string | undefined;
}

const GRACE: Grace = [10_000, 5_000];

/** What a guardian that does not answer gets beyond the grace time. */
const GUARDIAN_SLACK_MS = 3_000;

const EMPTY_LIMIT_MS = 10_000;

/** Interrupts at the time limit or the abort, and kills when that is not obeyed; returns who asked for it, and a clean-up. */
function watchStops({ timeoutMs, signal, graceMs = GRACE }: EngineProcessOptions, tree: Watched) {
  let cause: 'timeout' | 'abort' | undefined;
  let backstop: NodeJS.Timeout | undefined;
  const stop = (why: 'timeout' | 'abort') => {
    if (cause !== undefined) return;
    cause = why;
    tree.interrupt();
    backstop = setTimeout(tree.kill, graceMs[0] + graceMs[1] + GUARDIAN_SLACK_MS);
  };
  const onAbort = () => stop('abort');
  const timer = setTimeout(() => stop('timeout'), timeoutMs);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  return {
    cause: () => cause,
    clear: () => {
      clearTimeout(timer);
      clearTimeout(backstop);
      signal.removeEventListener('abort', onAbort);
    },
  };
}

async function proveEmpty(namespace: string): Promise<void> {
  const end = performance.now() + EMPTY_LIMIT_MS;
  while (!(await isNamespaceEmpty(namespace))) {
    if (performance.now() > end) {
      throw transient(
        'Interrupted',
        `Processes of the run are still there ${EMPTY_LIMIT_MS / 1_000} s after its end (PID namespace ${namespace}).`,
      );
    }
    await delay(20);
  }
}

function abortError(signal: AbortSignal, output?: CollectedOutput): ReconcileError {
  if (signal.reason instanceof ReconcileError) return signal.reason;
  return transient('Interrupted', 'The engine was interrupted before it was done.', output);
}

const MIB = 1024 ** 2;

/** A retry would meet the same limit, at the machine's cost; raising the limit or a new artifact ends the stall. */
function excessError({ what, used, allowed }: Excess, output: CollectedOutput): ReconcileError {
  switch (what) {
    case 'memory': {
      const [had, may] = [Math.ceil(used / MIB), Math.floor(allowed / MIB)];
      return stalled(
        'MemoryExceeded',
        `the run was stopped: its processes used ${had} MiB of memory together and may use ${may}. Let the program hold less, or raise spec.limits.memoryMb (at most the worker's PLUMBLINE_RUN_MEMORY_MB)`,
        output,
      );
    }
    case 'processes':
      return stalled(
        'ProcessesExceeded',
        `the run was stopped: it had ${used} processes and may have ${allowed}. See what the program starts, or raise spec.limits.processes (at most the worker's PLUMBLINE_RUN_PROCESSES)`,
        output,
      );
  }
}

function failure(
  options: EngineProcessOptions,
  { ending, cause, excess }: { ending: Ending; cause: 'timeout' | 'abort' | undefined; excess: Excess | undefined },
  output: CollectedOutput,
): ReconcileError {
  if (excess !== undefined) return excessError(excess, output);
  if (cause === 'abort') return abortError(options.signal, output);
  if (cause === 'timeout') {
    // Not the number: it is what was left of the limit when this process began.
    const message = 'the run was stopped at its time limit. See what the program waits for, or raise spec.timeouts';
    return transient('TimedOut', message, output);
  }
  if (ending.type === 'failed')
    return transient('InternalError', `The engine could not be started: ${ending.message}`, output);
  if (ending.type === 'deadline')
    return transient('LeaseLost', 'The lease was not renewed in time, so the run was killed.', output);
  return transient('Interrupted', 'The run was killed from outside together with its guardian.', output);
}

/**
 * Runs one engine process and everything it starts, and returns when all of it is gone: proved by an empty PID namespace
 * (design, rules 6 and 7). A process that ends well although it was being stopped counts as ended well.
 * @throws ReconcileError: TimedOut, MemoryExceeded, ProcessesExceeded, the abort's own or Interrupted, LeaseLost, IsolationUnavailable; `cause` holds the output.
 * Whatever `guard.started` throws is passed on, and nothing was started.
 */
export async function runEngineProcess(options: EngineProcessOptions): Promise<EngineProcessResult> {
  const { command, args, cwd, env, runId, sandbox, guard, signal } = options;
  if (signal.aborted) throw abortError(signal);
  const { limits = DEFAULT_LIMITS, network, graceMs = GRACE } = options;
  const config = { command, args, cwd, env, hostName: `plumb-${runId}`, sandbox, graceMs, limits };
  let output = (): CollectedOutput => ({ stdout: '', stderr: '', truncated: false });
  const start = options.isolation === 'namespaces' ? startGuarded : startGroup;
  const tree = await start({ ...config, ...(network && { network }) }, guard, (stdout, stderr) => {
    output = collectOutput(stdout, stderr, options.maxOutputBytes, options.onOutput);
  });
  const stops = watchStops(options, tree);
  const ending = await tree.ended.finally(stops.clear);
  if (tree.namespace !== undefined) await proveEmpty(tree.namespace);
  await guard.ended();
  const collected = output();
  const [cause, excess] = [stops.cause(), tree.excess()];
  const wasStopped = cause !== undefined || excess !== undefined;
  if (ending.type === 'exited' && (!wasStopped || ending.code === 0))
    return { code: ending.code, signal: ending.signal, ...collected };
  throw failure(options, { ending, cause, excess }, collected);
}
