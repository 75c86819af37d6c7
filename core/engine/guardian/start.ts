import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { stalled } from '../../domain/errors.ts';
import type { GuardHooks } from '../port.ts';
import type { Excess } from './limits.ts';
import { lineSplitter, parseReport, REPORT_FD, type GuardianConfig, type GuardianReport } from './protocol.ts';

/** How a process tree ended. `lost`: its guardian was killed, from outside or because the worker lost the lease. */
export type Ending =
  | { type: 'exited'; code: number; signal: string | undefined }
  | { type: 'deadline' }
  | { type: 'failed'; message: string }
  | { type: 'lost' };

/** A process tree under watch. */
export interface Watched {
  /** Inode of its PID namespace; undefined without one. */
  namespace: string | undefined;
  /** SIGINT, SIGINT again, kill, with the grace times between them. */
  interrupt(): void;
  /** At once. */
  kill(): void;
  /** The limit for which the guardian stopped it, if it did. */
  excess(): Excess | undefined;
  /** Resolves when the first process has ended and its output is read. */
  ended: Promise<Ending>;
}

/** Begins to read the output; called once, before the first byte. */
export type AttachOutput = (stdout: Readable, stderr: Readable) => void;

export const HEARTBEAT_MS = 1_000;

/** `--kill-child`: the guardian dies with its unshare(1). */
const UNSHARE = [
  '--user',
  '--map-root-user',
  '--mount',
  '--uts',
  '--ipc',
  '--pid',
  '--fork',
  '--kill-child=SIGKILL',
  '--mount-proc',
  '--',
];

/**
 * SIGUSR1, which every process of the run may send, would open Node's debugger in the guardian, and the guardian still has its
 * capabilities.
 */
const NODE_OPTIONS = ['--disable-sigusr1', '--no-warnings'];

/** The guardian needs no variable of the worker, and gets none. */
const GUARDIAN_ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

interface Pipes {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  reports: Socket;
}

function spawnGuardian(hasNetwork: boolean): { child: ChildProcess; pipes: Pipes } {
  const main = join(import.meta.dirname, 'main.ts');
  const namespaces = hasNetwork ? ['--net', ...UNSHARE] : UNSHARE;
  const child = spawn('/usr/bin/unshare', [...namespaces, process.execPath, ...NODE_OPTIONS, main], {
    cwd: '/',
    env: GUARDIAN_ENV,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  });
  const { stdin, stdout, stderr } = child;
  const reports = child.stdio[REPORT_FD];
  if (!(reports instanceof Socket)) throw new Error('the guardian was started without its report pipe');
  return { child, pipes: { stdin, stdout, stderr, reports } };
}

/** What the guardian has said so far, and promises for what it says next. */
function listen(child: ChildProcess, reports: Readable) {
  const namespace = Promise.withResolvers<string>();
  const ready = Promise.withResolvers<undefined>();
  let ending: Ending = { type: 'lost' };
  let excess: Excess | undefined;
  const hear = (report: GuardianReport) => {
    if (report.type === 'namespace') namespace.resolve(report.inode);
    else if (report.type === 'ready') ready.resolve(undefined);
    else if (report.type === 'exceeded') excess ??= report.excess;
    else ending = report.type === 'exit' ? { ...report, type: 'exited' } : report;
  };
  reports.setEncoding('utf8').on(
    'data',
    lineSplitter((line) => hear(parseReport(line))),
  );
  const ended = once(child, 'close').then(
    () => ending,
    (error: unknown): Ending => ({ type: 'failed', message: String(error) }),
  );
  const early = ended.then((end) => {
    const why = end.type === 'failed' ? end.message : 'its guardian ended at once';
    throw stalled('IsolationUnavailable', `The sandbox of the run could not be made: ${why}.`);
  });
  early.catch(() => undefined);
  return {
    namespace: () => Promise.race([namespace.promise, early]),
    ready: () => Promise.race([ready.promise, early]),
    excess: () => excess,
    ended,
  };
}

/** Tells the guardian every second how long the lease still holds; a worker that cannot do so loses the run. */
function beat(child: ChildProcess, send: (line: string) => void, guard: GuardHooks): void {
  const timer = setInterval(() => {
    const remaining = guard.remainingMs();
    if (remaining > 0) send(`beat ${Math.floor(remaining)}`);
    else child.kill('SIGKILL');
  }, HEARTBEAT_MS);
  child.once('close', () => clearInterval(timer));
}

/**
 * Starts a process in namespaces of its own under a guardian, after `guard.started` has recorded the namespace on the lease.
 * @throws ReconcileError(IsolationUnavailable), or what `guard.started` threw; nothing was started then.
 */
export async function startGuarded(config: GuardianConfig, guard: GuardHooks, attach: AttachOutput): Promise<Watched> {
  const { child, pipes } = spawnGuardian(config.network !== undefined);
  const send = (line: string) => pipes.stdin.writable && pipes.stdin.write(`${line}\n`);
  // A guardian that is gone is noticed by its end.
  for (const pipe of [pipes.stdin, pipes.reports]) pipe.on('error', () => undefined);
  attach(pipes.stdout, pipes.stderr);
  const guardian = listen(child, pipes.reports);
  try {
    const namespace = await guardian.namespace();
    send(JSON.stringify(config));
    await guardian.ready();
    await guard.started(namespace);
    send(`go ${Math.floor(guard.remainingMs())}`);
    beat(child, send, guard);
    return {
      namespace,
      interrupt: () => send('interrupt'),
      kill: () => child.kill('SIGKILL'),
      excess: guardian.excess,
      ended: guardian.ended,
    };
  } catch (error) {
    child.kill('SIGKILL');
    await guardian.ended;
    throw error;
  }
}
