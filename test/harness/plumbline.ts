import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { inject } from 'vitest';
import { loadConfig, type Config } from '#core/config.ts';
import type { Role, StackSpec } from '#core/domain/manifest.ts';
import { canonicalJson } from '#core/domain/plan.ts';
import type { DriftItemView, EventView, RunDetailView, RunView, StackView } from '#core/domain/view.ts';
import { scrubResults } from '#core/engine/scrubbed.ts';
import { createBlobCache } from '#core/oci/blob-cache.ts';
import { createArtifactStore } from '#core/oci/cache.ts';
import { createCloudIdentity } from '#core/oci/identity/cloud-credentials.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';
import { createRunClouds } from '#core/identity/run-clouds.ts';
import { createLogger } from '#core/logger.ts';
import { createRing, openQueueWorker } from '#core/queue.ts';
import { createScrubber, type Scrubber } from '#core/scrubber.ts';
import { createSecretStores } from '#core/secret-stores/stores.ts';
import { loadMasterKey, newTenantKey } from '#core/secrets.ts';
import { createTenant } from '#core/store/tenants.ts';
import { createToken } from '#core/store/tokens.ts';
import { buildApp } from '../../service/app.ts';
import { openIssuer } from '../../service/oidc/issuer.ts';
import type { WorkerDeps } from '../../workers/deps.ts';
import { checkDrift } from '../../workers/drift.ts';
import { reconcile } from '../../workers/reconcile.ts';
import { createSweep } from '../../workers/sweep.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { createFakeEngine, type FakeEngine } from './fake-engine.ts';
import { startTestRegistry, type TestRegistry } from './test-registry.ts';

const WAIT_MS = 20_000;
const HOOK_SECRET = 'hook-secret-of-the-test';
/** Shows the log of a test from this level on. */
const SHOWN = process.env['TEST_LOG_LEVEL'];

/** Keeps every line; with TEST_LOG_LEVEL they are shown as well. */
function keepingLogger(lines: string[], scrubber: Scrubber): Logger {
  const write = (line: string) => {
    lines.push(line);
    if (SHOWN !== undefined) process.stdout.write(line);
  };
  return createLogger({ level: SHOWN ?? 'debug', scrubber, name: 'test', destination: { write } });
}

/** A whole Plumbline in this process: everything is real but the engine. */
export interface TestPlumbline extends Omit<TestRegistry, 'host' | 'close'> {
  tenant: string;
  database: TestDatabase;
  engine: FakeEngine;
  deps: WorkerDeps;
  registryHost: string;
  url: string;
  token: string;
  redisUrl: string;
  /** Where the registry posts, and what it shows. */
  hook: { url: string; secret: string };
  /** Every line the service and the worker logged. */
  log: string[];
  api<T>(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    body?: unknown,
    token?: string,
  ): Promise<{ status: number; body: T }>;
  /** Applies a Stack whose source is the repository `infra/<name>`, tag `prod`. */
  stack(name: string, change?: Partial<StackSpec>): Promise<void>;
  secret(name: string, data: Record<string, string>): Promise<void>;
  /** A token of the tenant. */
  person(name: string, role?: Role): Promise<string>;
  /** The dependencies of a second worker. */
  secondWorker(change?: Partial<WorkerDeps>): WorkerDeps;
  stackId(name: string): Promise<string>;
  /** The key of a plan's state in the fake engine. */
  identityOf(plan: RunDetailView['plan']): string;
  view(name: string): Promise<StackView>;
  runs(name: string): Promise<RunView[]>;
  run(name: string, number: number): Promise<RunDetailView>;
  drift(name: string): Promise<DriftItemView[]>;
  events(name: string): Promise<EventView[]>;
  approve(
    name: string,
    run: Pick<RunView, 'number' | 'planDigest'>,
    as?: string,
  ): Promise<{ status: number; body: { detail?: string } }>;
  /** Posts to the stack as a person, for example `reconcile`. */
  post(name: string, what: string, body?: unknown): Promise<{ status: number; body: { detail?: string } }>;
  /** Approves and waits until it is applied. */
  applied(name: string): Promise<RunView>;
  condition(name: string, type: string): Promise<StackView['status']['conditions'][number] | undefined>;
  untilCondition(name: string, type: string, reason: string): Promise<StackView['status']['conditions'][number]>;
  untilEvent(name: string, type: string): Promise<EventView>;
  /** Asks for a drift check and waits for its end. */
  driftCheck(name: string): Promise<RunView>;
  /** Waits until `wanted` gives something. */
  until<T>(what: string, wanted: () => Promise<T | undefined>): Promise<T>;
  /** Waits for the newest run that is no drift check to be in one of the states. */
  untilRun(name: string, states: RunView['state'][], after?: number): Promise<RunView>;
  sweep(): Promise<void>;
  close(): Promise<void>;
}

export interface TestOptions {
  /** False: no queue workers; the test calls `reconcile` itself. */
  workers?: boolean;
  /** A Redis of the test's own. */
  redisUrl?: string;
  /** False: the registry does not post to the service. */
  webhook?: boolean;
  config?: Record<string, string>;
  /** Whether the tenant requires signatures; optional by default. */
  signatures?: 'required' | 'optional';
  /** Milliseconds `until` waits; 20 s by default. */
  waitMs?: number;
}

async function makeToken(database: TestDatabase, tenant: string, role: Role = 'admin', name: string = role) {
  return (await createToken(database.db, { tenant, name, role, expiresAt: null, by: 'test' })).token;
}

function workerDeps(
  config: Config,
  database: TestDatabase,
  parts: Pick<WorkerDeps, 'engine' | 'ring' | 'masterKey' | 'scrubber' | 'shutdown' | 'logger'>,
  tenant: string,
): WorkerDeps {
  const client = createRegistryClient({ plainHttpHosts: config.plainHttpRegistries });
  return {
    ...parts,
    db: database.db,
    config,
    identity: { id: `test-${randomUUID().slice(0, 8)}`, tenant, bootId: 'test-boot', pidNamespace: 'test' },
    artifacts: createArtifactStore({ dir: join(config.cacheDir, 'artifacts') }),
    blobs: createBlobCache({ dir: join(config.cacheDir, 'blobs') }),
    cloudIdentity: createCloudIdentity(),
    // Nobody listens there: a test that asks a cloud says which.
    runClouds: createRunClouds({ stsEndpoint: 'http://127.0.0.1:1' }),
    registry: (credentials) => client.withCredentials(credentials),
    dependencies: async () => ({ digest: 'none', nodeModules: undefined, plugins: undefined }),
    secretStores: createSecretStores({
      files: config.PLUMBLINE_SECRET_FILES,
      variables: config.PLUMBLINE_SECRET_VARIABLES,
      tenants: [tenant],
      environment: process.env,
    }),
    proveDead: async () => false,
    driftChecks: new Map(),
  };
}

/** Starts one; `close` ends it and removes all it made. */
export async function startTestPlumbline(options: TestOptions = {}): Promise<TestPlumbline> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-scenario-'));
  const tenant = `t${randomUUID().slice(0, 8)}`;
  const database = await createTestDatabase();
  const scrubber = createScrubber();
  const dataDir = join(dir, 'data');
  await mkdir(dataDir);
  const masterKey = await loadMasterKey(join(dir, 'key/master.key'), dataDir);
  // Most scenarios are about what happens to an artifact that may run, whoever vouches for it.
  const signatures = options.signatures ?? 'optional';
  await createTenant(database.db, {
    name: tenant,
    spec: { signatures },
    hmacKeySealed: newTenantKey(masterKey, tenant),
  });
  const token = await makeToken(database, tenant);
  const redisUrl = options.redisUrl ?? inject('redisUrl');
  const log: string[] = [];
  const logger = keepingLogger(log, scrubber);
  const ring = createRing(redisUrl, logger);
  const engine = createFakeEngine();
  const shutdown = new AbortController();

  const baseEnv = {
    PLUMBLINE_DATA: dataDir,
    PLUMBLINE_LEASE_SECONDS: '5',
    PLUMBLINE_WORKER_TENANT: tenant,
    ...options.config,
  };
  const publicUrl = options.config?.['PLUMBLINE_PUBLIC_URL'] ?? '';
  const identityIssuer = await openIssuer({ PLUMBLINE_PUBLIC_URL: publicUrl, oidcKeys: join(dir, 'key/oidc-keys') });
  const app = buildApp({ db: database.db, ring, masterKey, logger, scrubber, identityIssuer, now: () => new Date() });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });

  async function api<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown, as: string = token) {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${as}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    return { status: response.status, body: (text === '' ? {} : JSON.parse(text)) as T };
  }
  async function ask<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    const answer = await api<T>(method, path, body);
    if (answer.status >= 400) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }
  const manifest = (kind: string, name: string, spec: unknown) => ({
    apiVersion: 'plumbline.dev/v1alpha1',
    kind,
    metadata: { name, tenant },
    spec,
  });
  await ask('POST', '/v1/apply', {
    manifests: [
      manifest('Secret', 'hook', { data: { token: HOOK_SECRET } }),
      manifest('Receiver', 'registry', { type: 'distribution', secret: { secret: 'hook', key: 'token' } }),
    ],
  });
  const receivers = await ask<{ items: { hook: string }[] }>('GET', `/v1/tenants/${tenant}/receivers`);
  const hook = { url: `${url}${receivers.items[0]?.hook}`, secret: HOOK_SECRET };
  const notifications =
    options.webhook === false ? [] : [{ url: hook.url, headers: { Authorization: `Bearer ${HOOK_SECRET}` } }];
  const { host: registryHost, close: closeRegistry, ...registryParts } = await startTestRegistry(dir, notifications);
  const config = loadConfig({ PLUMBLINE_SERVICE_URL: url, ...baseEnv, PLUMBLINE_PLAIN_HTTP_REGISTRIES: registryHost });
  const deps = workerDeps(
    config,
    database,
    { engine: scrubResults(engine, scrubber), ring, masterKey, scrubber, logger, shutdown: shutdown.signal },
    tenant,
  );
  const queue = { redisUrl, tenant, logger, concurrency: 4 };
  const workers =
    options.workers === false
      ? []
      : [
          openQueueWorker({ ...queue, queue: 'reconcile', process: (job) => reconcile(deps, job.stackId) }),
          openQueueWorker({ ...queue, queue: 'drift', process: (job) => checkDrift(deps, job.stackId) }),
        ];
  const sweep = createSweep(deps);
  const base = `/v1/tenants/${tenant}/stacks`;

  const plumbline: TestPlumbline = {
    tenant,
    database,
    engine,
    deps,
    ...registryParts,
    registryHost,
    url,
    token,
    redisUrl,
    hook,
    log,
    api,
    sweep,
    async stack(name, change = {}) {
      const spec = {
        source: { repository: `oci://${registryHost}/infra/${name}`, ref: { tag: 'prod' }, interval: '1h' },
        pulumi: { stack: 'prod' },
        approval: { mode: 'manual' },
        retry: { interval: '1s', max: 2 },
        ...change,
      };
      await ask('POST', '/v1/apply', { manifests: [manifest('Stack', name, spec)] });
    },
    secret: async (name, data) =>
      void (await ask('POST', '/v1/apply', { manifests: [manifest('Secret', name, { data })] })),
    person: (name, role = 'approver') => makeToken(database, tenant, role, name),
    identityOf: (plan) => canonicalJson(plan?.bound['identity']),
    secondWorker: (change = {}) => ({
      ...deps,
      identity: { ...deps.identity, id: `second-${randomUUID().slice(0, 8)}` },
      ...change,
    }),
    async stackId(name) {
      const { id } = await database.db
        .selectFrom('stacks')
        .select('id')
        .where('name', '=', name)
        .executeTakeFirstOrThrow();
      return id;
    },
    view: (name) => ask('GET', `${base}/${name}`),
    runs: async (name) => (await ask<{ items: RunView[] }>('GET', `${base}/${name}/runs`)).items,
    run: (name, number) => ask('GET', `${base}/${name}/runs/${number}`),
    drift: async (name) => (await ask<{ items: DriftItemView[] }>('GET', `${base}/${name}/drift`)).items,
    events: async (name) =>
      (await ask<{ items: EventView[] }>('GET', `/v1/tenants/${tenant}/events?stack=${name}&limit=200`)).items,
    approve: (name, run, as) =>
      api('POST', `${base}/${name}/runs/${run.number}/approve`, { planDigest: run.planDigest }, as),
    post: (name, what, body) => api('POST', `${base}/${name}/${what}`, body),
    async applied(name) {
      const run = await plumbline.untilRun(name, ['awaiting_approval']);
      const answer = await plumbline.approve(name, run);
      if (answer.status !== 200) throw new Error(`not approved: ${answer.status} ${answer.body.detail}`);
      return await plumbline.untilRun(name, ['applied']);
    },
    condition: async (name, type) =>
      (await plumbline.view(name)).status.conditions.find((condition) => condition.type === type),
    untilCondition: (name, type, reason) =>
      plumbline.until(`${type} of ${name} with reason ${reason}`, async () => {
        const found = await plumbline.condition(name, type);
        return found?.reason === reason ? found : undefined;
      }),
    untilEvent: (name, type) =>
      plumbline.until(`an event ${type} of ${name}`, async () =>
        (await plumbline.events(name)).find((event) => event.type === type),
      ),
    async driftCheck(name) {
      const before = (await plumbline.runs(name))[0]?.number ?? 0;
      await ask('POST', `${base}/${name}/drift/check`);
      return await plumbline.until(`a drift check of ${name}`, async () =>
        (await plumbline.runs(name)).find(
          (run) => run.operation === 'drift' && run.number > before && run.finishedAt !== null,
        ),
      );
    },
    async until(what, wanted) {
      const { waitMs = WAIT_MS } = options;
      const end = performance.now() + waitMs;
      while (performance.now() < end) {
        const found = await wanted();
        if (found !== undefined) return found;
        await delay(50);
        if (options.workers !== false) await sweep();
      }
      throw new Error(`waited ${waitMs / 1000} s in vain for ${what}`);
    },
    untilRun: (name, states, after = 0) =>
      plumbline.until(`a run of ${name} in ${states.join(' or ')}`, async () => {
        const newest = (await plumbline.runs(name)).filter((run) => run.operation !== 'drift' && run.number > after)[0];
        return newest && states.includes(newest.state) ? newest : undefined;
      }),
    async close() {
      shutdown.abort();
      await Promise.all(workers.map((worker) => worker.close()));
      await closeRegistry();
      await app.close();
      await ring.close();
      await database.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return plumbline;
}
