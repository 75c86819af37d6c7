import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { withLock } from './lock.ts';
import { checkout } from './paths.ts';
import { freePort } from './process.ts';
import { consoleProgress, step, type Progress } from './progress.mjs';
import { SetupError } from './setup-error.ts';

const run = promisify(execFile);
const installLimitMs = 5 * 60_000;
const startLimitMs = 60_000;
const requirements = join(checkout, 'toolchain', 'moto', 'requirements.txt');

/** Ends with its standard input, so that it never outlives the process that started it, even one that was killed. */
const program = `
import os, sys, threading
def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)
threading.Thread(target=end_with_parent, daemon=True).start()
from moto.server import main
main(["-H", "127.0.0.1", "-p", sys.argv[1]])
`;

/** An AWS in memory (github.com/getmoto/moto): every service at one origin, any credentials accepted. */
export interface Moto {
  /** `http://127.0.0.1:port` */
  origin: string;
  stop(): Promise<void>;
}

/** What `run` said last, for a message. */
function saidBy(error: unknown): string {
  const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
  return stderr.split('\n').at(-1) || (error instanceof Error ? error.message : String(error));
}

/**
 * Folder of Python packages with moto, installed by pip from toolchain/moto/requirements.txt when the cache has none for
 * these requirements and this Python. Processes may call it at once.
 * @throws SetupError with what to install when there is no Python or the packages cannot be had.
 */
export async function ensureMoto(toolchainDir: string, onProgress: Progress = consoleProgress()): Promise<string> {
  const python = await run('python3', ['-c', 'import sys; print(sys.implementation.cache_tag)']).catch((error) => {
    throw new SetupError(`moto needs Python (${saidBy(error)}): install python3 and pip`, { cause: error });
  });
  const key = createHash('sha256').update(await readFile(requirements));
  const dir = join(toolchainDir, 'tools', `moto-${python.stdout.trim()}-${key.digest('hex').slice(0, 12)}`);
  const isInstalled = () =>
    access(dir).then(
      () => true,
      () => false,
    );
  if (await isInstalled()) return dir;
  await mkdir(join(toolchainDir, 'tools'), { recursive: true });
  await withLock(`${dir}.lock`, { limitMs: installLimitMs }, async () => {
    if (!(await isInstalled())) await step('Installing moto with pip', onProgress, () => install(dir));
  });
  return dir;
}

async function install(dir: string): Promise<void> {
  const draft = `${dir}.draft`;
  await rm(draft, { recursive: true, force: true });
  const args = [
    '-m',
    'pip',
    'install',
    '--quiet',
    '--disable-pip-version-check',
    '--no-warn-script-location',
    '--no-deps',
  ];
  try {
    await run('python3', [...args, '--only-binary=:all:', '--target', draft, '-r', requirements], {
      timeout: installLimitMs,
    });
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw new SetupError(
      `moto could not be installed with pip (${saidBy(error)}): check Python (3.10 or newer) and pip`,
      {
        cause: error,
      },
    );
  }
  await rename(draft, dir);
}

/**
 * Starts a moto of its own on a free port; it ends with this process.
 * @throws SetupError as `ensureMoto` does, or when it does not answer within a minute
 */
export async function startMoto(toolchainDir: string): Promise<Moto> {
  const dir = await ensureMoto(toolchainDir);
  const port = await freePort();
  const origin = `http://127.0.0.1:${port}`;
  const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', PYTHONPATH: dir };
  const child = spawn('python3', ['-c', program, String(port)], { env, stdio: ['pipe', 'ignore', 'ignore'] });
  const stop = () => end(child);
  try {
    await untilAnswered(child, origin);
  } catch (error) {
    await stop();
    throw error;
  }
  return { origin, stop };
}

async function untilAnswered(child: ChildProcess, origin: string): Promise<void> {
  const limit = performance.now() + startLimitMs;
  while (performance.now() < limit && child.exitCode === null) {
    const answer = await fetch(`${origin}/moto-api/`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok === true) return;
    await delay(100);
  }
  throw new SetupError(
    child.exitCode === null
      ? `moto did not answer within ${startLimitMs / 1000} s`
      : `moto ended with ${child.exitCode}`,
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
