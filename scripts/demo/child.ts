import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const STOP_MS = 15_000;

/** A process of the demo, its output in a file. */
export interface DemoProcess {
  name: string;
  pid: number;
  /** Rejects as soon as the process ends without having been asked to. */
  died: Promise<never>;
  stop(): Promise<void>;
}

/** Starts one of our processes on the Node.js that runs the demo. Secrets travel by environment only. */
export function startProcess(
  name: string,
  argv: string[],
  options: { env: Record<string, string>; logFile: string; onLine?: (line: string) => void },
): DemoProcess {
  const child = spawn(process.execPath, argv, { env: options.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const log = createWriteStream(options.logFile, { flags: 'a', mode: 0o600 });
  let rest = '';
  child.stdout.on('data', (chunk: Buffer) => {
    log.write(chunk);
    rest += chunk.toString();
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) options.onLine?.(line);
  });
  child.stderr.on('data', (chunk: Buffer) => log.write(chunk));
  let stopping = false;
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const died = ended.then(() => {
    if (stopping) return new Promise<never>(() => undefined);
    throw new Error(`${name} ended by itself (exit ${child.exitCode ?? child.signalCode}); see ${options.logFile}`);
  });
  died.catch(() => undefined);
  return {
    name,
    pid: child.pid ?? 0,
    died,
    stop: async () => {
      stopping = true;
      await stopChild(child, ended);
      log.end();
    },
  };
}

async function stopChild(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const inTime = await Promise.race([ended.then(() => true), delay(STOP_MS, false, { ref: false })]);
  if (inTime) return;
  child.kill('SIGKILL');
  await ended;
}
