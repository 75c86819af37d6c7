/**
 * PID 1 of a run's own PID namespace: when it ends, the kernel ends every process of the run. It ends when the engine does, when
 * the worker's pipe closes, and when the deadline passes that each heartbeat moves (design, rule 7).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import {
  accessSync,
  closeSync,
  constants,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants as systemConstants, uptime } from 'node:os';
import { enterCage } from './cage.ts';
import { escalate } from './escalate.ts';
import { confinement } from './confine.ts';
import { capTasks, watchTree, type TreeLimits } from './limits.ts';
import { hostLines, openForwards, raiseLoopback } from './network.ts';
import { lineSplitter, parseConfig, REPORT_FD, type GuardianConfig, type GuardianReport } from './protocol.ts';

/** Until the worker says go: recording the namespace on the lease takes this long at most. */
const START_SECONDS = 60;
const CHECK_MS = 100;

/** In seconds of `uptime()`: monotonic, and it goes on while the machine is suspended, as the lease does. */
let deadline = uptime() + START_SECONDS;
let config: GuardianConfig | undefined;
let engine: ChildProcess | undefined;

function report(message: GuardianReport): void {
  try {
    writeSync(REPORT_FD, `${JSON.stringify(message)}\n`);
  } catch {
    // The worker is gone; its end is noticed on the other pipe.
  }
}

function leave(message?: GuardianReport): never {
  if (message !== undefined) report(message);
  process.exit(0);
}

function checkDeadline(): void {
  if (uptime() >= deadline) leave({ type: 'deadline' });
}

const O_CLOEXEC = 0o2000000;

/** Closes what the worker inherited from whoever started it and the engine would inherit from us. */
function closeStrays(): void {
  for (const fd of readdirSync('/proc/self/fd').map(Number)) {
    if (fd <= REPORT_FD) continue;
    try {
      const flags = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
      if (flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(fd);
    } catch {
      // The listing's own descriptor is closed by now.
    }
  }
}

/** Among all processes of the machine, the kernel takes the run's first when memory ends. */
const OOM_SCORE = '800';

function startEngine(settings: GuardianConfig): ChildProcess {
  const { command, args, cwd, env } = settings;
  accessSync(command, constants.X_OK);
  closeStrays();
  const child = spawn('/usr/bin/prlimit', [...confinement(settings.limits), command, ...args], {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  child.on('error', (error) => leave({ type: 'failed', message: error.message }));
  child.on('exit', (code, signal) => {
    const number = signal === null ? 0 : systemConstants.signals[signal];
    leave({ type: 'exit', code: code ?? 128 + number, signal: signal ?? undefined });
  });
  writeFileSync(`/proc/${child.pid}/oom_score_adj`, OOM_SCORE);
  watchUse(settings.limits);
  return child;
}

function watchUse(limits: TreeLimits): void {
  watchTree(limits, (excess, isFar) => {
    if (!isStopping) report({ type: 'exceeded', excess });
    if (isFar) leave();
    stop();
  });
}

let isStopping = false;

function stop(): void {
  if (isStopping) return;
  if (engine === undefined || config === undefined) leave();
  isStopping = true;
  const running = engine;
  escalate(() => running.kill('SIGINT'), leave, config.graceMs);
}

async function prepare(line: string): Promise<void> {
  const parsed = parseConfig(line);
  const { network } = parsed;
  capTasks(parsed.limits);
  if (network !== undefined) raiseLoopback(network);
  enterCage(parsed.hostName, parsed.sandbox, network === undefined ? [] : hostLines(network));
  if (network !== undefined) await openForwards(network);
  config = parsed;
  report({ type: 'ready' });
}

function fail(error: unknown): never {
  leave({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
}

function obey(line: string): void {
  if (config === undefined) {
    prepare(line).catch(fail);
    return;
  }
  const [word, milliseconds] = line.split(' ');
  if (word === 'interrupt') return stop();
  deadline = uptime() + Number(milliseconds) / 1_000;
  checkDeadline();
  if (word === 'go') engine = startEngine(config);
}

function failSafely<T>(action: (argument: T) => void): (argument: T) => void {
  return (argument) => {
    try {
      action(argument);
    } catch (error) {
      fail(error);
    }
  };
}

report({ type: 'namespace', inode: readlinkSync('/proc/self/ns/pid').replaceAll(/\D/g, '') });
setInterval(checkDeadline, CHECK_MS);
process.stdin.setEncoding('utf8');
process.stdin.on('data', lineSplitter(failSafely(obey)));
process.stdin.on('end', () => leave());
process.stdin.on('error', () => leave());
