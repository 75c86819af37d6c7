import { spawn } from 'node:child_process';

/** Milliseconds between the polite and the final end of a command that was interrupted or is late. */
const ESCALATE_MS = 5000;
const MAX_OUTPUT = 64 * 1024;

export interface CommandOptions {
  cwd: string;
  /** The whole environment. */
  env: Record<string, string>;
  /** Given on standard input, so that no secret stands in argv. */
  input?: string;
  limitMs: number;
  signal: AbortSignal;
  /** Told the process as soon as it runs. */
  onStart?: (pid: number) => void;
}

/**
 * Runs one command to its end and says how long it took and what it printed (the last 64 KiB of both streams). On abort
 * or past its limit its whole process group is interrupted, and killed when that does not help.
 * @throws Error with the end of the output when it ends with another code than 0; the signal's reason on abort.
 */
export async function timed(
  command: string,
  args: string[],
  options: CommandOptions,
): Promise<{ ms: number; output: string }> {
  options.signal.throwIfAborted();
  const from = performance.now();
  const late = AbortSignal.timeout(options.limitMs);
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  if (child.pid !== undefined) options.onStart?.(child.pid);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-MAX_OUTPUT)));
  }
  // A command that reads nothing may be gone before the input is written.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const stop = AbortSignal.any([options.signal, late]);
  let escalation: NodeJS.Timeout | undefined;
  const interrupt = () => {
    signalGroup(child.pid, 'SIGINT');
    escalation = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), ESCALATE_MS);
  };
  stop.addEventListener('abort', interrupt, { once: true });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    options.signal.throwIfAborted();
    if (late.aborted) throw new Error(`${command} ${args[0] ?? ''} did not end within ${options.limitMs / 1000} s`);
    if (code !== 0) throw new Error(`${command} ${args[0] ?? ''} ended with code ${code}:\n${output.slice(-2000)}`);
    return { ms: performance.now() - from, output };
  } finally {
    stop.removeEventListener('abort', interrupt);
    clearTimeout(escalation);
  }
}

/** The group may have ended a moment ago. */
function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
