import { execFile, spawn } from 'node:child_process';
import { open, readFile, rename, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { SetupError } from './setup-error.ts';

const run = promisify(execFile);
const maxLogBytes = 10 * 1024 * 1024;

/**
 * PostgreSQL refuses to run as root. A user namespace in which root appears as user 1000 satisfies it and, unlike a
 * created user, reaches folders below a 0700 home.
 */
export function unprivileged(command: string, args: string[]): [string, string[]] {
  if (process.getuid?.() !== 0) return [command, args];
  return ['unshare', ['--user', '--map-user=1000', '--map-group=1000', '--', command, ...args]];
}

/**
 * Runs a command to its end, as an unprivileged user when we are root.
 * @throws SetupError with the command's own words.
 */
export async function asCommonUser(command: string, args: string[]): Promise<void> {
  const [file, rest] = unprivileged(command, args);
  try {
    await run(file, rest, { timeout: 120_000, env: serverEnvironment() });
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    const hint = said.includes('unshare')
      ? ' (as root this needs user namespaces: run as another user, or set DATABASE_URL)'
      : '';
    throw new SetupError(`${command} failed: ${said}${hint}`, { cause: error });
  }
}

/** A server process that outlives us. */
export interface SpawnedServer {
  pid: number;
  exited(): boolean;
}

/**
 * Spawns a server in a session of its own (Ctrl-C in our terminal does not reach it), its output appended to `logFile`,
 * which is set aside once it has grown past 10 MiB.
 */
export async function spawnServer(command: string, args: string[], logFile: string): Promise<SpawnedServer> {
  const size = await stat(logFile).then(
    (found) => found.size,
    () => 0,
  );
  if (size > maxLogBytes) await rename(logFile, `${logFile}.1`);
  const log = await open(logFile, 'a', 0o600);
  try {
    const child = spawn(command, args, { detached: true, stdio: ['ignore', log.fd, log.fd], env: serverEnvironment() });
    await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject));
    child.unref();
    if (child.pid === undefined) throw new SetupError(`${command} did not start`);
    return { pid: child.pid, exited: () => child.exitCode !== null || child.signalCode !== null };
  } finally {
    await log.close();
  }
}

/** The servers need none of our environment, and none of our secrets. */
function serverEnvironment(): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

/** The last lines of a log, for an error message. */
export async function tailOf(file: string, lines = 8): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
