import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { Config } from '#core/config.ts';
import type { Engine } from '#core/engine/port.ts';
import type { ArtifactStore, FetchedArtifact } from '#core/oci/cache.ts';
import type { RunClouds } from '#core/identity/run-clouds.ts';
import type { BlobCache } from '#core/oci/blob-cache.ts';
import type { CloudIdentity } from '#core/oci/identity/cloud-credentials.ts';
import type { Pusher, RegistryCredentials, Source } from '#core/oci/port.ts';
import type { Ring } from '#core/queue.ts';
import type { SecretStores } from '#core/secret-stores/stores.ts';
import type { MasterKey } from '#core/secrets.ts';
import type { Scrubber } from '#core/scrubber.ts';
import type { HeldLease } from './lease.ts';
import type { LeaseRow } from '#core/store/leases.ts';
import type { Schema } from '#core/store/schema.ts';

/** A registry as a worker sees it: names are resolved, content and what is attached to it are fetched. */
export type Registry = Source;

/** Finds or installs what a program needs: `node_modules` with its digest, and a folder of provider plugins. */
export type Dependencies = (request: {
  tenant: string;
  runId: string;
  programDir: string;
  /** What the artifact brings along; it is used as it is, and nothing is downloaded in its place. */
  parts: FetchedArtifact['parts'];
  /** A policy pack starts no provider, so it needs no plugin. */
  packagesOnly?: boolean;
  signal: AbortSignal;
}) => Promise<{ digest: string; nodeModules: string | undefined; plugins: string | undefined }>;

/** Who this worker process is; recorded on every lease. */
export interface WorkerIdentity {
  id: string;
  tenant: string;
  bootId: string;
  pidNamespace: string;
}

/** Everything the steps of a worker need, built once in `main.ts` or by a test. */
export interface WorkerDeps {
  db: Kysely<Schema>;
  config: Config;
  logger: Logger;
  scrubber: Scrubber;
  masterKey: MasterKey;
  identity: WorkerIdentity;
  engine: Engine;
  artifacts: ArtifactStore;
  registry(credentials: RegistryCredentials | undefined): Registry & Pusher;
  /** Content as it came from registries: a layer that a new revision shares with the last is not downloaded again. */
  blobs: BlobCache;
  /** Credentials by the identity of the cloud the worker runs in. */
  cloudIdentity: CloudIdentity;
  /** Asks clouds about the identities of runs. */
  runClouds: RunClouds;
  dependencies: Dependencies;
  /** Secrets that are kept elsewhere; steps use `readSecret`. */
  secretStores: SecretStores;
  ring: Pick<Ring, 'ring' | 'clearStaleDedup'>;
  /** Proof that a lease's former holder and all it started are gone; see rule 7 of the design. */
  proveDead(lease: LeaseRow): Promise<boolean>;
  /** Drift checks under way in this worker, by stack: a run that begins ends them. */
  driftChecks: Map<string, Pick<HeldLease, 'giveWay'>>;
  /** Aborted when the worker is told to stop. */
  shutdown: AbortSignal;
}
