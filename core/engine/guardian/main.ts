/**
 * PID 1 of a run's own PID namespace: when it ends, the kernel ends every process of the run. It ends when the engine does, when
 * the worker's pipe closes, and when the deadline passes that each heartbeat moves (design, rule 7).
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, closeSync, constants, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs';
import { constants as systemConstants, uptime } from 'node:os';
import { enterCage } from './cage.ts';
import { escalate } from './escalate.ts';
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

/** Without a capability, a way to get one, core dumps (they hold secrets) and, unless started by root, more than 4096 processes. */
const CONFINED = [
  '--core=0:0', '--nproc=4096:4096', '--',
  '/usr/bin/setpriv', '--bounding-set=-all', '--inh-caps=-all', '--ambient-caps=-all', '--no-new-privs', '--',
]; // prettier-ignore

function startEngine({ command, args, cwd, env }: GuardianConfig): ChildProcess {
  accessSync(command, constants.X_OK);
  closeStrays();
  const child = spawn('/usr/bin/prlimit', [...CONFINED, command, ...args], {
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
  return child;
}

function prepare(line: string): GuardianConfig {
  const parsed = parseConfig(line);
  enterCage(parsed.hostName, parsed.sandbox);
  report({ type: 'ready' });
  return parsed;
}

function obey(line: string): void {
  if (config === undefined) {
    config = prepare(line);
    return;
  }
  const [word, milliseconds] = line.split(' ');
  if (word === 'interrupt') {
    if (engine === undefined) leave();
    const running = engine;
    escalate(() => running.kill('SIGINT'), leave, config.graceMs);
    return;
  }
  deadline = uptime() + Number(milliseconds) / 1_000;
  checkDeadline();
  if (word === 'go') engine = startEngine(config);
}

function failSafely<T>(action: (argument: T) => void): (argument: T) => void {
  return (argument) => {
    try {
      action(argument);
    } catch (error) {
      leave({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
    }
  };
}

report({ type: 'namespace', inode: readlinkSync('/proc/self/ns/pid').replaceAll(/\D/g, '') });
setInterval(checkDeadline, CHECK_MS);
process.stdin.setEncoding('utf8');
process.stdin.on('data', lineSplitter(failSafely(obey)));
process.stdin.on('end', () => leave());
process.stdin.on('error', () => leave());
