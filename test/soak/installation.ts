import { mkdir, writeFile, cp } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { pushProgram } from '#core/oci/pack.ts';
import { createApi, type Api } from '../../scripts/demo/api.ts';
import { startProcess } from '../../scripts/demo/child.ts';
import { inheritedEnvironment, makeReceiver, startService } from '../../scripts/demo/processes.ts';
import { withRegistry } from '../../scripts/demo/program.ts';
import { freePort } from '../../toolchain/process.ts';
import { startPostgres, type EmbeddedPostgres } from '../../toolchain/postgres.ts';
import { startRedis, type EmbeddedRedis } from '../../toolchain/redis.ts';
import type { Toolchain } from '../../toolchain/setup.ts';
import { findInRun, type Victim } from './victims.ts';

const root = join(import.meta.dirname, '../..');
const START_MS = 60_000;

/** A whole Plumbline of real processes, every one of which can be killed and comes back. */
export interface Installation {
  api: Api;
  databaseUrl: string;
  stateDir: string;
  registry: string;
  push(desired: Record<string, number>): Promise<string>;
  /** Kills with -9 and starts again what does not come back by itself; says what it killed, or undefined when it was not there. */
  kill(victim: Victim): Promise<string | undefined>;
  stop(): Promise<void>;
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

/** It may have ended by itself a moment ago. */
function killIfThere(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

/** Waits for its end, since one that is dying would be taken for a running one, and ends our use of it. */
async function killServer(server: { pid: number; stop(): Promise<void> }): Promise<void> {
  process.kill(server.pid, 'SIGKILL');
  while (killIfThere(server.pid)) await delay(10);
  await server.stop();
}

/** A state is written down shortly before its processes start. */
const APPEAR_MS = 5000;

async function waitInRun(worker: number, victim: Victim): Promise<number | undefined> {
  const end = performance.now() + APPEAR_MS;
  while (performance.now() < end) {
    const pid = await findInRun(worker, victim);
    if (pid !== undefined) return pid;
    await delay(20);
  }
  return undefined;
}

/** Starts one in `dir`. */
export async function startInstallation(dir: string, toolchain: Toolchain): Promise<Installation> {
  const logs = join(dir, 'logs');
  await mkdir(logs, { recursive: true });
  const pgOptions = { dataDir: join(dir, 'data/postgres'), database: 'plumbline' };
  const redisOptions = { dataDir: join(dir, 'data/redis'), toolchainDir: toolchain.dir };
  const servers: Servers = { postgres: await startPostgres(pgOptions), redis: await startRedis(redisOptions) };
  const [servicePort, registryPort] = [await freePort(0), await freePort(0)];
  const registry = `127.0.0.1:${registryPort}`;
  const inherited = inheritedEnvironment();
  const env = (): Record<string, string> => ({
    ...inherited,
    PLUMBLINE_DATA: join(dir, 'data'),
    PLUMBLINE_KEY_FILE: join(dir, 'key/master.key'),
    DATABASE_URL: servers.postgres.url,
    REDIS_URL: servers.redis.url,
    PLUMBLINE_TOOLCHAIN: toolchain.dir,
    PLUMBLINE_PULUMI: toolchain.engine.pulumi,
    PLUMBLINE_PLAIN_HTTP_REGISTRIES: registry,
    PLUMBLINE_SWEEP_SECONDS: '1',
    PLUMBLINE_LEASE_SECONDS: '6',
    PLUMBLINE_LISTEN_PORT: String(servicePort),
  });
  const restartService = () =>
    startProcess('service', [join(root, 'service/main.ts')], { env: env(), logFile: join(logs, 'service.log') });
  const startWorker = () =>
    startProcess('worker', [join(root, 'workers/main.ts')], { env: env(), logFile: join(logs, 'worker.log') });
  const first = await startService(env(), logs, servicePort);
  const url = `http://127.0.0.1:${servicePort}`;
  const api = createApi(url, first.token);
  await untilReady(url);
  const hook = await makeReceiver(api);
  const registryEnv = {
    ...inherited,
    REGISTRY_NOTIFY_URL: `${url}${hook.path}`,
    REGISTRY_NOTIFY_AUTHORIZATION: hook.authorization,
  };
  const startRegistry = () =>
    startProcess(
      'registry',
      [join(root, 'registry/main.ts'), '--dir', join(dir, 'registry'), '--port', String(registryPort)],
      { env: registryEnv, logFile: join(logs, 'registry.log') },
    );
  const processes = { service: first.service, worker: startWorker(), registry: startRegistry() };
  const starters = { service: restartService, worker: startWorker, registry: startRegistry };
  let pushes = 0;

  async function killProcess(name: keyof typeof processes): Promise<string> {
    const victim = processes[name];
    process.kill(victim.pid, 'SIGKILL');
    await victim.stop();
    processes[name] = starters[name]();
    if (name === 'service') await untilReady(url);
    return `${name} ${victim.pid}`;
  }

  return {
    api,
    databaseUrl: servers.postgres.url,
    stateDir: join(dir, 'data/state/default'),
    registry,
    async push(desired) {
      const folder = join(dir, `version-${(pushes += 1)}`);
      await cp(join(import.meta.dirname, 'program'), folder, {
        recursive: true,
        filter: (path) => basename(path) !== 'node_modules',
      });
      await writeFile(join(folder, 'desired.json'), JSON.stringify(desired));
      return await withRegistry(registry, 'infra/soak', async (client, repository) => {
        const pushed = { dir: folder, repository, tag: 'prod', annotations: {} };
        return (await pushProgram(client, pushed, AbortSignal.timeout(60_000))).digest;
      });
    },
    async kill(victim) {
      switch (victim) {
        case 'service':
        case 'worker':
        case 'registry':
          return await killProcess(victim);
        case 'redis':
          await killServer(servers.redis);
          servers.redis = await startRedis(redisOptions);
          return 'redis';
        case 'postgres':
          await killServer(servers.postgres);
          servers.postgres = await startPostgres(pgOptions);
          await untilReady(url);
          return 'postgres';
        case 'flush': {
          const redis = new Redis(servers.redis.url);
          await redis.flushall();
          redis.disconnect();
          return 'flush';
        }
        case 'guardian':
        case 'engine':
        case 'program':
        case 'provider': {
          const pid = await waitInRun(processes.worker.pid, victim);
          if (pid === undefined) return undefined;
          return killIfThere(pid) ? `${victim} ${pid}` : undefined;
        }
      }
    },
    async stop() {
      for (const part of [processes.worker, processes.registry, processes.service]) await part.stop();
      await servers.redis.stop();
      await servers.postgres.stop();
    },
  };
}
