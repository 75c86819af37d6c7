import { execFile, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { inject } from 'vitest';
import { ensureDockerRegistry } from '../../toolchain/docker-registry.ts';
import { ensureTool, type ToolName } from '../../toolchain/go-tools.ts';
import { onPath } from '../../toolchain/path-lookup.ts';
import { consoleProgress } from '../../toolchain/progress.mjs';
import { freePort } from '../../toolchain/process.ts';

const run = promisify(execFile);
const COMMAND_MS = 120_000;
const START_MS = 30_000;
const MAX_LOG = 64 * 1024;

/** Programs nobody here wrote: those built from Go modules, and Debian's docker-registry. */
export type Program = ToolName | 'docker-registry';

async function find(program: Program): Promise<string | undefined> {
  const dir = inject('toolchainDir');
  if (program === 'docker-registry') return ensureDockerRegistry(dir, consoleProgress());
  return (await onPath('go')) === undefined ? undefined : ensureTool(program, dir, consoleProgress());
}

/**
 * Path of a program, installed the first time (cosign takes minutes). Undefined, with a warning, where it cannot be had:
 * without Go, on another system than Debian 12, or, except in CI, without a network.
 */
export async function findProgram(program: Program): Promise<string | undefined> {
  try {
    const path = await find(program);
    if (path === undefined) console.warn(`SKIPPED: all tests with ${program}, which cannot be had on this machine`);
    return path;
  } catch (error) {
    // Where all is meant to be there, a test that did not run must not look like one that passed.
    if (process.env['CI'] !== undefined) throw error;
    console.warn(`SKIPPED: all tests with ${program}: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

export interface CommandOptions {
  cwd: string;
  env?: Record<string, string>;
}

/** Runs a program to its end, with nothing of our environment but PATH. @throws Error with what it printed. */
export async function command(program: string, args: string[], options: CommandOptions): Promise<string> {
  const { cwd, env = {} } = options;
  const all = { PATH: process.env['PATH'] ?? '', HOME: cwd, ...env };
  const { stdout } = await run(program, args, { cwd, env: all, timeout: COMMAND_MS, maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}

/** A server of somebody else's on a port of its own. */
export interface RunningServer {
  /** `127.0.0.1:port` */
  host: string;
  /** The end of what it printed. */
  log(): string;
  close(): Promise<void>;
}

/** Whether somebody listens, with TLS or without. */
function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (open: boolean) => {
      socket.destroy();
      resolve(open);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}

/** Starts a registry and waits until it listens. @throws Error with what it printed when it does not. */
export async function startServer(
  program: string,
  toArgs: (port: number) => string[] | Promise<string[]>,
  options: CommandOptions,
): Promise<RunningServer> {
  const port = await freePort();
  const env = { PATH: process.env['PATH'] ?? '', HOME: options.cwd, ...options.env };
  const child = spawn(program, await toArgs(port), { cwd: options.cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()).once('error', () => resolve()));
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (printed = (printed + chunk.toString()).slice(-MAX_LOG)));
  }
  const close = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  const end = performance.now() + START_MS;
  while (!(await isOpen(port))) {
    if (child.exitCode !== null || performance.now() > end) {
      await close();
      throw new Error(`${program} did not start:\n${printed.slice(-2000)}`);
    }
    await delay(25);
  }
  return { host: `127.0.0.1:${port}`, log: () => printed, close };
}
