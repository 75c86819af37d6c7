import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { isKms, type Config } from '#core/config.ts';
import { createPulumiEngine } from '#core/engine/pulumi.ts';
import { scrubResults } from '#core/engine/scrubbed.ts';
import { bootId, ownPidNamespace } from '#core/engine/namespace.ts';
import { createRunClouds } from '#core/identity/run-clouds.ts';
import { createLogger } from '#core/logger.ts';
import { createBlobCache } from '#core/oci/blob-cache.ts';
import { createCloudIdentity } from '#core/oci/identity/cloud-credentials.ts';
import { createArtifactStore, type ArtifactStore } from '#core/oci/cache.ts';
import { createConfiguredClient } from '#core/oci/configured-client.ts';
import { createRing } from '#core/queue.ts';
import { createScrubber, type Scrubber } from '#core/scrubber.ts';
import { createSecretStores } from '#core/secret-stores/stores.ts';
import { loadMasterKey } from '#core/secrets.ts';
import { migrateToLatest, openDatabase } from '#core/store/database.ts';
import { ensureInstallation } from '#core/store/installation.ts';
import { listTenants, requireMasterKey } from '#core/store/tenants.ts';
import type { EmbeddedServers } from '../toolchain/embedded.ts';
import type { Toolchain } from '../toolchain/setup.ts';
import { isProvedDead } from './death-proof.ts';
import { createDependencies } from './dependencies.ts';
import type { WorkerDeps, WorkerIdentity } from './deps.ts';
import { requireIsolation, servedTenants } from './isolation.ts';

const MIB = 1024 * 1024;
const KIB = 1024;

/** A worker's dependencies and their end. */
export interface BuiltWorker {
  deps: WorkerDeps;
  /** The same for each tenant the worker serves, with its own identity; `deps` is the first. */
  tenants: WorkerDeps[];
  /** Interrupts every run under way, politely. */
  interrupt(): void;
  close(): Promise<void>;
}

/** One identity a tenant: leases and signs of life name the tenant they are for. */
async function identify(config: Config): Promise<[WorkerIdentity, ...WorkerIdentity[]]> {
  const id = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const machine = { bootId: (await bootId()) ?? 'unknown', pidNamespace: (await ownPidNamespace()) ?? 'none' };
  const [first = '', ...more] = servedTenants(config);
  return [
    { id, tenant: first, ...machine },
    ...more.map((tenant, index) => ({ id: `${id}-${index + 2}`, tenant, ...machine })),
  ];
}

/** Where the keys of identity tokens lie, should the service run on this machine too. */
function keyFolders(config: Config): string[] {
  return isKms(config.oidcKeys) ? [] : [resolve(config.oidcKeys)];
}

/** The cache of artifacts in the data folder, with the configured limits. */
export function openArtifacts(config: Config): ArtifactStore {
  return createArtifactStore({
    dir: join(config.cacheDir, 'artifacts'),
    maxBytes: config.PLUMBLINE_ARTIFACT_CACHE_MB * MIB,
    limits: {
      maxCompressedBytes: config.PLUMBLINE_MAX_ARTIFACT_MB * MIB,
      maxUnpackedBytes: config.PLUMBLINE_MAX_UNPACKED_MB * MIB,
      maxEntries: config.PLUMBLINE_MAX_ENTRIES,
    },
  });
}

function openEngine(config: Config, toolchain: Toolchain, scrubber: Scrubber, own: Record<string, string | undefined>) {
  const pulumi = createPulumiEngine({
    engineDir: toolchain.engine.dir,
    nodePath: process.execPath,
    isolation: config.PLUMBLINE_ISOLATION,
    hiddenDirs: [config.dataDir, config.cacheDir, dirname(config.keyFile), ...keyFolders(config)],
    maxOutputBytes: config.PLUMBLINE_MAX_OUTPUT_KB * KIB,
    scrubber,
    ownEnvironment: own,
  });
  return scrubResults(pulumi, scrubber);
}

/**
 * Connects a worker to everything it needs; of `own`, the process's environment, only PATH, certificates and what
 * credential helpers need are read.
 */
export async function buildWorker(
  config: Config,
  toolchain: Toolchain,
  servers: EmbeddedServers,
  own: Record<string, string | undefined>,
): Promise<BuiltWorker> {
  await requireIsolation(config);
  const scrubber = createScrubber();
  const logger = createLogger({ level: config.PLUMBLINE_LOG_LEVEL, scrubber, name: 'worker' });
  const masterKey = await loadMasterKey(config.keyFile, config.dataDir);
  const db = openDatabase(servers.databaseUrl, { maxConnections: 10 });
  await migrateToLatest(db);
  await requireMasterKey(db, masterKey, config.keyFile);
  const engine = openEngine(config, toolchain, scrubber, own);
  const { engine: engineVersion = 'unknown' } = await engine.versions('');
  await ensureInstallation(db, engineVersion);
  const client = await createConfiguredClient(config, own, {
    onWarning: (registry, warning) => logger.warn({ registry, warning }, 'the registry warns'),
  });
  const ring = createRing(servers.redisUrl, logger);
  const [identity, ...more] = await identify(config);
  const stopping = new AbortController();
  await mkdir(join(config.dataDir, 'runs'), { recursive: true, mode: 0o700 });
  const deps: WorkerDeps = {
    db,
    config,
    logger,
    scrubber,
    masterKey,
    identity,
    engine,
    artifacts: openArtifacts(config),
    blobs: createBlobCache({ dir: join(config.cacheDir, 'blobs'), maxBytes: config.PLUMBLINE_BLOB_CACHE_MB * MIB }),
    cloudIdentity: createCloudIdentity(),
    runClouds: createRunClouds(),
    // A stack that names no credentials gets what PLUMBLINE_DOCKER_CONFIG has for its registry.
    registry: (credentials) => (credentials === undefined ? client : client.withCredentials(credentials)),
    dependencies: createDependencies(config, toolchain.engine.pulumi, own),
    secretStores: createSecretStores({
      files: config.PLUMBLINE_SECRET_FILES,
      variables: config.PLUMBLINE_SECRET_VARIABLES,
      tenants: servedTenants(config),
      allTenants: async () => (await listTenants(db)).map(({ name }) => name),
      environment: own,
    }),
    ring,
    proveDead: (lease) => isProvedDead(identity, lease),
    driftChecks: new Map(),
    shutdown: stopping.signal,
  };
  return {
    deps,
    tenants: [deps, ...more.map((other) => ({ ...deps, identity: other }))],
    interrupt: () => stopping.abort(),
    close: async () => {
      await Promise.all([ring.close(), client.close(), db.destroy()]);
    },
  };
}
