import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A process named so that a reused pid is not mistaken for it. `started` is opaque: compare it only for equality. */
export interface ProcessId {
  pid: number;
  started: string;
}

/**
 * Identifies a running process, or undefined when there is none. A zombie counts as gone.
 * Start time: field 22 of proc_pid_stat(5) together with the boot id; `ps -o lstart` where there is no /proc.
 */
export async function identify(pid: number): Promise<ProcessId | undefined> {
  if (process.platform !== 'linux') {
    const { stdout } = await run('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
    const started = stdout.trim();
    return started === '' ? undefined : { pid, started };
  }
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  // The command in parentheses may hold spaces and parentheses itself: fields are counted after the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const ticks = fields[19];
  if (ticks === undefined || state === 'Z') return undefined;
  const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '');
  return { pid, started: `${boot.trim()}:${ticks}` };
}

/** Whether exactly this process still runs. */
export async function isRunning(id: ProcessId): Promise<boolean> {
  const now = await identify(id.pid);
  return now?.started === id.started;
}

/** Command line of a process, arguments separated by a space; empty when it is gone. */
export async function commandLine(pid: number): Promise<string> {
  if (process.platform === 'linux') {
    const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return text.replaceAll('\0', ' ').trim();
  }
  const { stdout } = await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }));
  return stdout.trim();
}

/**
 * Whether the process works in this folder, whatever path led it there. Where there is no /proc: whether its command line
 * names the folder.
 */
export async function worksIn(pid: number, dir: string): Promise<boolean> {
  if (process.platform !== 'linux') return (await commandLine(pid)).split(' ').includes(dir);
  const [theirs, ours] = await Promise.all([stat(`/proc/${pid}/cwd`).catch(() => undefined), stat(dir)]);
  return theirs?.ino === ours.ino && theirs.dev === ours.dev;
}

/** Sends a signal; a process that is gone already is no error. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** Waits until the process is gone; false when it still runs after `limitMs`. */
export async function waitForExit(id: ProcessId, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (await isRunning(id)) {
    if (performance.now() > end) return false;
    await delay(25);
  }
  return true;
}

/** A loopback port nobody listens on: `wanted` when it is free, else one of the system's choice. */
export async function freePort(wanted = 0): Promise<number> {
  const port = await tryListen(wanted);
  return port ?? (await freePort());
}

function tryListen(wanted: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => (wanted === 0 ? reject(error) : resolve(undefined)));
    server.listen({ host: '127.0.0.1', port: wanted, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined));
    });
  });
}
