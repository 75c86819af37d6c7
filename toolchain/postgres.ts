import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { withLock } from './lock.ts';
import { findPostgres, type PostgresBinaries } from './postgres-binaries.ts';
import { freePort, identify, signalProcess, waitForExit, worksIn } from './process.ts';
import { asCommonUser, spawnServer, tailOf, unprivileged, type SpawnedServer } from './server-process.ts';
import { joinUse, leaveUse } from './use-count.ts';
import { SetupError } from './setup-error.ts';

/** Where an embedded cluster lies and how it runs. */
export interface PostgresOptions {
  /** Folder of ours: the cluster, its password (0600), port and users. Made when absent. */
  dataDir: string;
  /** Port wished for the first start; by default a free one, remembered for the next starts. */
  port?: number;
  /** File that takes the server's log. Default: `postgres.log` in the folder. */
  logFile?: string;
  /** Database the URL names; made when absent. Default: `postgres`. */
  database?: string;
  /** False only in tests: a machine that crashes then loses data. */
  fsync?: boolean;
}

/** A running cluster. */
export interface EmbeddedPostgres {
  /** Connection URL of the superuser, password included: hand it over by environment, never by argv. */
  url: string;
  /** The postmaster. */
  pid: number;
  port: number;
  /** Whether it ran already. */
  attached: boolean;
  /** Ends this use; the last user's stop shuts the server down. */
  stop(): Promise<void>;
}

const startLimitMs = 60_000;
const stopLimitMs = 30_000;
const superuser = 'postgres';

/**
 * Starts the embedded PostgreSQL of a folder, or attaches to it when it runs. It listens on 127.0.0.1 only,
 * outlives its starter, and is stopped by the last of its users.
 * @throws SetupError saying what failed, with the end of the server's log.
 */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedPostgres> {
  const dir = resolve(options.dataDir);
  const lock = join(dir, 'lock');
  await mkdir(dir, { recursive: true, mode: 0o700 });
  return await withLock(lock, { limitMs: 2 * startLimitMs }, async () => {
    const binaries = await findPostgres();
    await initCluster(dir, binaries, options.fsync ?? true);
    const running = await findRunning(dir);
    const server = running ?? (await startServer(dir, binaries, options));
    const url = await connectionUrl(dir, server.port, superuser);
    await waitForAnswer(url);
    const database = options.database ?? superuser;
    await ensureDatabase(url, database);
    const note = await joinUse(dir);
    return {
      ...server,
      url: await connectionUrl(dir, server.port, database),
      attached: running !== undefined,
      stop: () => withLock(lock, { limitMs: 2 * startLimitMs }, () => leave(dir, note)),
    };
  });
}

async function leave(dir: string, note: string): Promise<void> {
  if ((await leaveUse(dir, note)) > 0) return;
  const running = await findRunning(dir);
  const id = running && (await identify(running.pid));
  if (id === undefined) return;
  // "Fast shutdown": sessions are ended, a checkpoint is written (PostgreSQL manual, 18.5).
  signalProcess(id.pid, 'SIGINT');
  if (await waitForExit(id, stopLimitMs)) return;
  throw new SetupError(
    `PostgreSQL (process ${id.pid}) did not stop within ${stopLimitMs / 1000} s; see the log in ${dir}`,
  );
}

async function initCluster(dir: string, binaries: PostgresBinaries, fsync: boolean): Promise<void> {
  const cluster = join(dir, 'cluster');
  const version = await readFile(join(cluster, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (version?.trim() === binaries.major) return;
  if (version !== undefined) {
    throw new SetupError(
      `${cluster} was made by PostgreSQL ${version.trim()}, this is ${binaries.major}: dump it with the old version and load it into a new folder`,
    );
  }
  const passwordFile = join(dir, 'password');
  const draft = join(dir, 'cluster.init');
  await rm(draft, { recursive: true, force: true });
  await writeFile(passwordFile, randomBytes(24).toString('base64url'), { mode: 0o600 });
  const options = ['-U', superuser, `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8'];
  // The built-in provider sorts alike on every platform.
  const locale = ['--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  await asCommonUser(binaries.initdb, ['-D', draft, ...options, ...locale, ...(fsync ? [] : ['--no-sync'])]);
  await rename(draft, cluster);
}

async function findRunning(dir: string): Promise<{ pid: number; port: number } | undefined> {
  const cluster = join(dir, 'cluster');
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '');
  const [pid = '', , , port = ''] = text.split('\n');
  if (pid === '') return undefined;
  // A postmaster changes to its data folder before it writes the file.
  const ours = await worksIn(Number(pid), cluster);
  if (ours && port !== '') return { pid: Number(pid), port: Number(port) };
  // PostgreSQL takes any living process of that pid for a postmaster; after a reboot it may be anyone's.
  if (!ours) await rm(join(cluster, 'postmaster.pid'), { force: true });
  return undefined;
}

async function startServer(dir: string, binaries: PostgresBinaries, options: PostgresOptions) {
  const logFile = options.logFile ?? join(dir, 'postgres.log');
  const portFile = join(dir, 'port');
  const remembered = Number(await readFile(portFile, 'utf8').catch(() => options.port ?? 0));
  const end = performance.now() + startLimitMs;
  for (let wanted = remembered; ;) {
    const port = await freePort(wanted);
    await writeFile(portFile, String(port));
    const child = await spawnServer(
      ...unprivileged(binaries.postgres, serverArguments(dir, port, options.fsync ?? true)),
      logFile,
    );
    const server = await untilReady(dir, child, end);
    if (server !== undefined) return server;
    if (performance.now() > end)
      throw new SetupError(`PostgreSQL did not start; the end of ${logFile}:\n${await tailOf(logFile)}`);
    // After kill -9 of the postmaster its children take a moment to let go of the shared memory: the start is tried again.
    wanted = port;
    await delay(300);
  }
}

function serverArguments(dir: string, port: number, fsync: boolean): string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    ...(fsync ? {} : { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' }),
  };
  return [
    '-D',
    join(dir, 'cluster'),
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
}

/** The server once its pid file says `ready` (line 8; line 1 is the pid, line 4 the port); undefined when it ended before. */
async function untilReady(dir: string, child: SpawnedServer, end: number) {
  while (!child.exited() && performance.now() < end) {
    const text = await readFile(join(dir, 'cluster', 'postmaster.pid'), 'utf8').catch(() => '');
    const [pid, , , port, , , , status = ''] = text.split('\n');
    if (pid === String(child.pid) && status.trim() === 'ready') return { pid: child.pid, port: Number(port) };
    await delay(25);
  }
  return undefined;
}

async function connectionUrl(dir: string, port: number, database: string): Promise<string> {
  const password = await readFile(join(dir, 'password'), 'utf8');
  return `postgres://${superuser}:${password.trim()}@127.0.0.1:${port}/${database}`;
}

async function waitForAnswer(url: string): Promise<void> {
  const end = performance.now() + startLimitMs;
  for (;;) {
    try {
      return await query(url, async () => undefined);
    } catch (error) {
      // 57P03: it is starting up, or recovering after a crash.
      const starting = error instanceof pg.DatabaseError && error.code === '57P03';
      if (!starting || performance.now() > end) throw error;
      await delay(100);
    }
  }
}

async function ensureDatabase(url: string, name: string): Promise<void> {
  await query(url, async (client) => {
    const found = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (found.rowCount === 0) await client.query(`create database ${client.escapeIdentifier(name)}`);
  });
}

async function query(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, query_timeout: 30_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await work(client);
  } finally {
    await client.end();
  }
}
