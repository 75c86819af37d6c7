import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { withLock } from './lock.ts';
import { freePort, identify, isRunning, signalProcess, waitForExit, type ProcessId } from './process.ts';
import { findRedis } from './redis-binary.ts';
import { spawnServer, tailOf } from './server-process.ts';
import { joinUse, leaveUse } from './use-count.ts';
import { SetupError } from './setup-error.ts';

/** Where an embedded Redis lies. */
export interface RedisOptions {
  /** Folder of ours: append-only file, configuration with the password (0600), users. Made when absent. */
  dataDir: string;
  /** Folder a downloaded binary is cached in. */
  toolchainDir: string;
  /** Port wished for the first start; by default a free one, remembered for the next starts. */
  port?: number;
  /** File that takes the server's log. Default: `redis.log` in the folder. */
  logFile?: string;
}

/** A running server. */
export interface EmbeddedRedis {
  /** Connection URL, password included: hand it over by environment, never by argv. */
  url: string;
  pid: number;
  port: number;
  /** Whether it ran already. */
  attached: boolean;
  /** Ends this use; the last user's stop shuts the server down. */
  stop(): Promise<void>;
}

interface Settings {
  port: number;
  password: string;
}

const startLimitMs = 60_000;
const stopLimitMs = 20_000;

/**
 * Starts the embedded Redis (or Valkey) of a folder, or attaches to it when it runs: append-only file on, `noeviction`,
 * on 127.0.0.1 with a random password. It outlives its starter and is stopped by the last of its users.
 * @throws SetupError saying what failed, with the end of the server's log.
 */
export async function startRedis(options: RedisOptions): Promise<EmbeddedRedis> {
  const dir = resolve(options.dataDir);
  const lock = join(dir, 'lock');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  return await withLock(lock, { limitMs: 2 * startLimitMs }, async () => {
    const settings = (await readSettings(dir)) ?? {
      port: options.port ?? 0,
      password: randomBytes(24).toString('base64url'),
    };
    const running = await findRunning(dir, settings);
    const server = running ?? (await startServer(dir, settings, options));
    const note = await joinUse(dir);
    return {
      ...server,
      url: `redis://:${settings.password}@127.0.0.1:${server.port}`,
      attached: running !== undefined,
      stop: () => withLock(lock, { limitMs: 2 * startLimitMs }, () => leave(dir, note)),
    };
  });
}

async function leave(dir: string, note: string): Promise<void> {
  if ((await leaveUse(dir, note)) > 0) return;
  const id = await readProcess(dir);
  if (id === undefined || !(await isRunning(id))) return;
  signalProcess(id.pid, 'SIGTERM');
  if (await waitForExit(id, stopLimitMs)) return;
  throw new SetupError(`Redis (process ${id.pid}) did not stop within ${stopLimitMs / 1000} s; see the log in ${dir}`);
}

async function findRunning(dir: string, settings: Settings): Promise<{ pid: number; port: number } | undefined> {
  const id = await readProcess(dir);
  if (id === undefined || !(await isRunning(id))) return undefined;
  await untilAnswers(settings, () => isRunning(id));
  return { pid: id.pid, port: settings.port };
}

async function startServer(
  dir: string,
  settings: Settings,
  options: RedisOptions,
): Promise<{ pid: number; port: number }> {
  const binary = await findRedis(options.toolchainDir);
  const logFile = options.logFile ?? join(dir, 'redis.log');
  settings.port = await freePort(settings.port);
  await writeFile(join(dir, 'redis.conf'), configuration(dir, settings), { mode: 0o600 });
  const child = await spawnServer(binary, [join(dir, 'redis.conf')], logFile);
  const id = await identify(child.pid);
  if (id !== undefined) await writeFile(join(dir, 'process.json'), JSON.stringify(id));
  try {
    await untilAnswers(settings, () => Promise.resolve(!child.exited()));
  } catch (error) {
    throw new SetupError(`Redis did not start; the end of ${logFile}:\n${await tailOf(logFile)}`, { cause: error });
  }
  return { pid: child.pid, port: settings.port };
}

function configuration(dir: string, { port, password }: Settings): string {
  return [
    `port ${port}`,
    `requirepass ${password}`,
    'bind 127.0.0.1',
    `dir ${JSON.stringify(dir)}`,
    'daemonize no',
    // Every accepted job survives the server: a second of them may be lost with the machine, and the sweep rings again.
    'appendonly yes',
    'appendfsync everysec',
    'save ""',
    'maxmemory-policy noeviction',
    '',
  ].join('\n');
}

async function readSettings(dir: string): Promise<Settings | undefined> {
  const text = await readFile(join(dir, 'redis.conf'), 'utf8').catch(() => '');
  const port = /^port (\d+)$/m.exec(text)?.[1];
  const password = /^requirepass (\S+)$/m.exec(text)?.[1];
  return port === undefined || password === undefined ? undefined : { port: Number(port), password };
}

async function readProcess(dir: string): Promise<ProcessId | undefined> {
  const text = await readFile(join(dir, 'process.json'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as ProcessId);
}

/** Waits until the server has loaded its data and answers. */
async function untilAnswers({ port, password }: Settings, alive: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + startLimitMs;
  for (;;) {
    const client = new Redis({ port, password, lazyConnect: true, retryStrategy: () => null, connectTimeout: 5000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.ping();
      return;
    } catch (error) {
      if (performance.now() > end || !(await alive())) throw error;
      await delay(50);
    } finally {
      client.disconnect();
    }
  }
}
