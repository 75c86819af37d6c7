import { mkdir, writeFile, cp } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { unreachable } from '#core/domain/errors.ts';
import { pushProgram } from '#core/oci/pack.ts';
import { createApi, type Api } from '../../scripts/demo/api.ts';
import { startProcess } from '../../scripts/demo/child.ts';
import { inheritedEnvironment, makeReceiver, startService } from '../../scripts/demo/processes.ts';
import { withRegistry } from '../../scripts/demo/program.ts';
import { freePort } from '../../toolchain/process.ts';
import { startPostgres, type EmbeddedPostgres } from '../../toolchain/postgres.ts';
import { startRedis, type EmbeddedRedis } from '../../toolchain/redis.ts';
import type { Toolchain } from '../../toolchain/setup.ts';
import type { Desired } from './kills.ts';
import { killIfThere, type Server } from './victims.ts';

const root = join(import.meta.dirname, '../..');
const START_MS = 60_000;

/** A whole Plumbline of real processes, every one of which can be killed and comes back. */
export interface Installation {
  api: Api;
  databaseUrl: string;
  stateDir: string;
  registry: string;
  /** The workers' processes now. */
  workers(): number[];
  /** Pushes the soak's program with these objects, under the tag `prod` of `infra/<stack>`; returns its digest. */
  push(stack: string, desired: Desired): Promise<string>;
  /** Kills with -9 and starts it again; of the workers the one with this process. Says what it killed. */
  kill(victim: Server, worker?: number): Promise<string>;
  stop(): Promise<void>;
}

export interface InstallationOptions {
  workers: number;
  /** Stacks a worker reconciles at once. */
  concurrency: number;
  leaseSeconds: number;
  /** Opens a way to a server's port for each worker, which can be cut; without one they go to it directly. */
  waysTo?(port: number): Promise<number[]>;
}

interface Servers {
  postgres: EmbeddedPostgres;
  redis: EmbeddedRedis;
}

async function untilReady(url: string): Promise<void> {
  const end = performance.now() + START_MS;
  while (performance.now() < end) {
    const ready = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) }).then(
      (answer) => answer.ok,
      () => false,
    );
    if (ready) return;
    await delay(100);
  }
  throw new Error(`${url}/readyz was not ready within ${START_MS / 1000} s`);
}

/** Waits for its end, since one that is dying would be taken for a running one, and ends our use of it. */
async function killServer(server: { pid: number; stop(): Promise<void> }): Promise<void> {
  process.kill(server.pid, 'SIGKILL');
  while (killIfThere(server.pid)) await delay(10);
  await server.stop();
}

function environment(
  at: { dir: string; toolchain: Toolchain; servers: Servers; registry: string; servicePort: number },
  options: InstallationOptions,
): Record<string, string> {
  return {
    ...inheritedEnvironment(),
    PLUMBLINE_DATA: join(at.dir, 'data'),
    PLUMBLINE_CACHE: join(at.toolchain.dir, 'soak-cache'),
    PLUMBLINE_KEY_FILE: join(at.dir, 'key/master.key'),
    DATABASE_URL: at.servers.postgres.url,
    REDIS_URL: at.servers.redis.url,
    PLUMBLINE_TOOLCHAIN: at.toolchain.dir,
    PLUMBLINE_PULUMI: at.toolchain.engine.pulumi,
    PLUMBLINE_PLAIN_HTTP_REGISTRIES: at.registry,
    PLUMBLINE_SWEEP_SECONDS: '1',
    PLUMBLINE_LEASE_SECONDS: String(options.leaseSeconds),
    PLUMBLINE_WORKER_CONCURRENCY: String(options.concurrency),
    PLUMBLINE_LISTEN_PORT: String(at.servicePort),
  };
}

function through(address: string, port: number | undefined): string {
  if (port === undefined) return address;
  const url = new URL(address);
  url.port = String(port);
  return url.href;
}

/** Starts one in `dir`. */
export async function startInstallation(
  dir: string,
  toolchain: Toolchain,
  options: InstallationOptions,
): Promise<Installation> {
  const logs = join(dir, 'logs');
  await mkdir(logs, { recursive: true });
  const pgOptions = { dataDir: join(dir, 'data/postgres'), database: 'plumbline' };
  const redisOptions = { dataDir: join(dir, 'data/redis'), toolchainDir: toolchain.dir };
  const servers: Servers = { postgres: await startPostgres(pgOptions), redis: await startRedis(redisOptions) };
  const [servicePort, registryPort] = [await freePort(0), await freePort(0)];
  const registry = `127.0.0.1:${registryPort}`;
  const env = () => environment({ dir, toolchain, servers, registry, servicePort }, options);
  const start = (name: string, script: string, argv: string[], more: Record<string, string>) =>
    startProcess(name, [join(root, script), ...argv], { env: more, logFile: join(logs, `${name}.log`) });
  const waysTo = async (url: string) => await options.waysTo?.(Number(new URL(url).port));
  const ways = { DATABASE_URL: await waysTo(servers.postgres.url), REDIS_URL: await waysTo(servers.redis.url) };
  const startWorker = (index: number) => {
    const more = env();
    for (const [name, ports] of Object.entries(ways)) more[name] = through(more[name] ?? '', ports?.[index]);
    return start(`worker-${index}`, 'workers/main.ts', [], more);
  };
  const first = await startService(env(), logs, servicePort);
  const url = `http://127.0.0.1:${servicePort}`;
  const api = createApi(url, first.token);
  await untilReady(url);
  const hook = await makeReceiver(api);
  const registryEnv = {
    ...inheritedEnvironment(),
    REGISTRY_NOTIFY_URL: `${url}${hook.path}`,
    REGISTRY_NOTIFY_AUTHORIZATION: hook.authorization,
  };
  const at = ['--dir', join(dir, 'registry'), '--port', String(registryPort)];
  const starters = {
    service: () => start('service', 'service/main.ts', [], env()),
    registry: () => start('registry', 'registry/main.ts', at, registryEnv),
  };
  const processes = { service: first.service, registry: starters.registry() };
  const workers = Array.from({ length: options.workers }, (_, index) => startWorker(index));
  let pushes = 0;

  async function killWorker(pid: number | undefined): Promise<string> {
    const index = workers.findIndex((worker) => worker.pid === pid);
    const victim = workers[index];
    if (victim === undefined) throw new Error(`no worker has process ${pid}`);
    process.kill(victim.pid, 'SIGKILL');
    await victim.stop();
    workers[index] = startWorker(index);
    return `worker ${victim.pid}`;
  }

  return {
    api,
    databaseUrl: servers.postgres.url,
    stateDir: join(dir, 'data/state/default'),
    registry,
    workers: () => workers.map(({ pid }) => pid),
    async push(stack, desired) {
      const folder = join(dir, `version-${(pushes += 1)}`);
      await cp(join(import.meta.dirname, 'program'), folder, {
        recursive: true,
        filter: (path) => basename(path) !== 'node_modules',
      });
      await writeFile(join(folder, 'desired.json'), JSON.stringify(desired));
      return await withRegistry(registry, `infra/${stack}`, async (client, repository) => {
        const pushed = { dir: folder, repository, tag: 'prod', annotations: {} };
        return (await pushProgram(client, pushed, AbortSignal.timeout(60_000))).digest;
      });
    },
    async kill(victim, worker) {
      switch (victim) {
        case 'worker':
          return await killWorker(worker);
        case 'service':
        case 'registry':
          process.kill(processes[victim].pid, 'SIGKILL');
          await processes[victim].stop();
          processes[victim] = starters[victim]();
          if (victim === 'service') await untilReady(url);
          return victim;
        case 'redis':
          await killServer(servers.redis);
          servers.redis = await startRedis(redisOptions);
          return victim;
        case 'postgres':
          await killServer(servers.postgres);
          servers.postgres = await startPostgres(pgOptions);
          await untilReady(url);
          return victim;
        case 'flush': {
          const redis = new Redis(servers.redis.url);
          await redis.flushall();
          redis.disconnect();
          return victim;
        }
        default:
          return unreachable(victim);
      }
    },
    async stop() {
      await Promise.all(workers.map((worker) => worker.stop()));
      for (const part of [processes.registry, processes.service]) await part.stop();
      await servers.redis.stop();
      await servers.postgres.stop();
    },
  };
}
