import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../toolchain/process.ts';
import { startPostgres } from '../../toolchain/postgres.ts';
import { startRedis } from '../../toolchain/redis.ts';
import type { Toolchain } from '../../toolchain/setup.ts';
import { createApi, manifest, type Api } from './api.ts';
import { startProcess, type DemoProcess } from './child.ts';
import { startTarget, type Target } from './target.ts';

const root = join(import.meta.dirname, '../..');
const START_MS = 30_000;

/** Everything that runs during the demo, each a real process of its own. */
export interface Parts {
  api: Api;
  token: string;
  target: Target;
  /** `host:port` of the registry. */
  registry: string;
  processes: DemoProcess[];
  stop(): Promise<void>;
}

/** A push right after the start must find it. */
async function untilListening(registry: string): Promise<void> {
  const end = performance.now() + START_MS;
  while (performance.now() < end) {
    const answered = await fetch(`http://${registry}/v2/`, { signal: AbortSignal.timeout(2000) }).then(
      () => true,
      () => false,
    );
    if (answered) return;
    await delay(50);
  }
  throw new Error(`the registry at ${registry} did not answer within ${START_MS / 1000} s`);
}

interface Stoppable {
  stop(): Promise<void>;
}

/** Only what a process of ours needs of this one's environment. */
export function inheritedEnvironment(): Record<string, string> {
  const kept = ['PATH', 'HOME', 'LANG', 'TZ', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS', 'NO_COLOR'];
  return Object.fromEntries(
    kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']])),
  );
}

/** Program dependencies are kept from demo to demo: they are a cache, and only the demo's. */
export function demoCacheDir(toolchain: Toolchain): string {
  return join(toolchain.dir, 'demo-cache');
}

/** Starts the service for the first time and reads the admin token it prints once. */
export async function startService(env: Record<string, string>, logs: string, port: number) {
  const token = Promise.withResolvers<string>();
  const service = startProcess('service', [join(root, 'service/main.ts')], {
    env: { ...env, PLUMBLINE_LISTEN_PORT: String(port) },
    logFile: join(logs, 'service.log'),
    onLine: (line) => {
      const found = /plumb_[A-Za-z0-9_-]+/.exec(line);
      if (found !== null) token.resolve(found[0]);
    },
  });
  const late = new Promise<never>((_, reject) => {
    setTimeout(
      () =>
        reject(new Error(`the service printed no admin token within ${START_MS / 1000} s; see ${logs}/service.log`)),
      START_MS,
    ).unref();
  });
  return { service, token: await Promise.race([token.promise, service.died, late]) };
}

/** Makes a receiver for the registry and returns the hook's path and the value of its Authorization header. */
export async function makeReceiver(api: Api): Promise<{ path: string; authorization: string }> {
  const secret = randomBytes(24).toString('base64url');
  await api.ask('POST', '/v1/apply', {
    manifests: [
      manifest('Secret', 'registry-hook', { data: { token: secret } }),
      manifest('Receiver', 'registry', { type: 'distribution', secret: { secret: 'registry-hook', key: 'token' } }),
    ],
  });
  const page = await api.ask<{ items: { name: string; hook: string }[] }>('GET', '/v1/tenants/default/receivers');
  const hook = page.items.find((receiver) => receiver.name === 'registry')?.hook;
  if (hook === undefined) throw new Error('the service shows no hook path for the receiver');
  return { path: hook, authorization: `Bearer ${secret}` };
}

/** Starts the registry with the hook as its notification endpoint, and waits until it listens. */
async function startRegistryProcess(at: {
  dir: string;
  logs: string;
  port: number;
  hook: string;
  authorization: string;
}): Promise<DemoProcess> {
  const argv = [join(root, 'registry/main.ts'), '--dir', join(at.dir, 'registry'), '--port', String(at.port)];
  const env = {
    ...inheritedEnvironment(),
    REGISTRY_NOTIFY_URL: at.hook,
    REGISTRY_NOTIFY_AUTHORIZATION: at.authorization,
  };
  const registry = startProcess('registry', argv, { env, logFile: join(at.logs, 'registry.log') });
  await untilListening(`127.0.0.1:${at.port}`);
  return registry;
}

/** Starts PostgreSQL (Plumbline's and the managed one), Redis, the service, the registry and a worker on free loopback ports. */
export async function startParts(dir: string, toolchain: Toolchain): Promise<Parts> {
  const started: Stoppable[] = [];
  const processes: DemoProcess[] = [];
  const stop = async () => {
    for (const part of started.splice(0).reverse()) await part.stop();
  };
  const keep = <T extends Stoppable>(part: T): T => {
    started.push(part);
    return part;
  };
  try {
    const logs = join(dir, 'logs');
    await mkdir(logs, { recursive: true });
    const [database, redis] = [
      keep(await startPostgres({ dataDir: join(dir, 'data/postgres'), database: 'plumbline' })),
      keep(await startRedis({ dataDir: join(dir, 'data/redis'), toolchainDir: toolchain.dir })),
    ];
    const target = await startTarget(join(dir, 'managed-cluster'));
    keep(target.cluster);
    const [servicePort, registryPort] = [await freePort(0), await freePort(0)];
    const registry = `127.0.0.1:${registryPort}`;
    const env = {
      ...inheritedEnvironment(),
      PLUMBLINE_DATA: join(dir, 'data'),
      PLUMBLINE_CACHE: demoCacheDir(toolchain),
      PLUMBLINE_KEY_FILE: join(dir, 'key/master.key'),
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      PLUMBLINE_TOOLCHAIN: toolchain.dir,
      PLUMBLINE_PULUMI: toolchain.engine.pulumi,
      PLUMBLINE_PLAIN_HTTP_REGISTRIES: registry,
      PLUMBLINE_SWEEP_SECONDS: '1',
    };
    const { service, token } = await startService(env, logs, servicePort);
    processes.push(keep(service));
    const api = createApi(`http://127.0.0.1:${servicePort}`, token);
    const hook = await makeReceiver(api);
    processes.push(
      keep(
        await startRegistryProcess({
          dir,
          logs,
          port: registryPort,
          hook: `${api.url}${hook.path}`,
          authorization: hook.authorization,
        }),
      ),
    );
    processes.push(
      keep(startProcess('worker', [join(root, 'workers/main.ts')], { env, logFile: join(logs, 'worker.log') })),
    );
    return { api, token, target, registry, processes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
