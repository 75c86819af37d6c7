import type { ChangeSummary, PolicyReport, ResourceChange, StateIdentity } from '../domain/plan.ts';
import type { CompleteAnswer, DriftKind, PendingOperation } from '../store/schema.ts';

/** One config value; a secret one is encrypted before it is written to the settings file. */
export interface ConfigValue {
  value: unknown;
  secret: boolean;
}

/** Keeps a run's process tree alive only while the lease holds; one for each engine process. */
export interface GuardHooks {
  /**
   * Called with the inode of the run's PID namespace (undefined where there is none) before the engine starts.
   * Must record it on the lease; throws when the lease is lost, and then nothing is started.
   */
  started(pidNamespace: string | undefined): Promise<void>;
  /** Called when the process tree is known to be gone. */
  ended(): Promise<void>;
  /** Milliseconds from now after which the guardian kills everything, asked at each heartbeat; 0 or less = at once. */
  remainingMs(): number;
  /** Notes at once a create whose provider ended before it answered: the resource may exist, and no state knows it. */
  leftOpen?(operation: PendingOperation): Promise<void>;
}

/** Of all processes of a run together. */
export interface ProcessLimits {
  memoryBytes: number;
  processes: number;
  /** Largest file it may write. */
  fileBytes: number;
}

/** What a run may reach: everything the worker can (`host`), or what the list names, through a proxy (`filtered`). */
export interface RunNetwork {
  mode: 'host' | 'filtered';
  /** `host[:port]` or `*.example.com[:port]`. */
  egress: string[];
  /** The cloud's metadata address. */
  metadata: boolean;
}

/** A policy pack that lies ready in a folder the sandbox shows. */
export interface PolicyPack {
  name: string;
  dir: string;
  /** sha256 of the artifact, or of the folder's content. */
  digest: string;
  /** Policy name → level and settings, as `--policy-pack-config` takes it. */
  config: Record<string, unknown>;
}

/** What the state's secrets are encrypted with. */
export interface StateSecrets {
  encryptionSalt: string;
  /** URL of the provider; absent: the passphrase. */
  provider?: string;
  /** The provider's own encryption of the state's key. */
  encryptedKey?: string;
  /** ESC environments. */
  environments?: string[];
  /** Secret config values the provider has encrypted already, by config key. */
  ciphertexts?: Record<string, string>;
}

/** What a state says its secrets are encrypted with. */
export type StateProvider =
  | { type: 'passphrase'; salt: string }
  | { type: 'cloud'; url: string; encryptedKey: string }
  | { type: 'service' };

/** What the provider of a state's secrets made: its key, encrypted by itself, and config values encrypted with it. */
export interface ProviderSecrets {
  encryptedKey?: string;
  ciphertexts: Record<string, string>;
}

/** Everything one engine operation needs. The engine never reads the database. */
export interface EngineRequest {
  tenant: string;
  /** Names the run's UTS host name (`plumb-<runId>`), so that its lock file can be told from others. */
  runId: string;
  /** Folder of the run, private to it and deleted by the caller; holds home, settings, plan. */
  runDir: string;
  /** Folder with Pulumi.yaml; inside `runDir`, with node_modules in place. */
  programDir: string;
  /** Host folders the sandbox shows read-only besides the toolchain (dependency cache). */
  readOnlyDirs: string[];
  identity: StateIdentity;
  settings: StateSecrets;
  passphrase: string;
  config: Record<string, ConfigValue>;
  /** Spec environment and the credentials of this phase; nothing of the worker's own. */
  environment: Record<string, string>;
  targets: string[];
  /** A drift check runs the program in its refresh too, for providers whose credentials the program makes. */
  runProgram?: boolean;
  policyPacks?: PolicyPack[];
  /** Violations a person overrode, as `violationKey` writes them: exactly these count as advice. */
  policyOverrides?: string[];
  /** Dead runs of this stack, whose locks may be removed. */
  deadRunIds?: string[];
  limits?: ProcessLimits;
  network?: RunNetwork;
  timeoutMs: number;
  signal: AbortSignal;
  guard: GuardHooks;
  /** Scrubbed output, in pieces of at most 64 KiB; at most `maxOutputBytes` in all. */
  onOutput(text: string): void;
}

export interface PreviewResult {
  changes: ResourceChange[];
  summary: ChangeSummary;
  /** The update-plan file as the engine wrote it. */
  plan: Buffer;
  /** sha256 over the canonical plan without manifest time and magic. */
  planHash: string;
  /** Paths `urn#path` unknown at plan time. */
  unknowns: string[];
  policies?: PolicyReport;
}

export interface ApplyRequest extends EngineRequest {
  plan: Buffer;
  /**
   * Asked by the language host inside `up`'s own preview phase, when the engine holds the backend's lock: the differences to
   * what was approved; anything but an empty list makes `Run` fail before a change (design, Plan binding).
   */
  gate(): Promise<string[]>;
}

/** What a destroy would take away. */
export interface DestroyPreview {
  changes: ResourceChange[];
  summary: ChangeSummary;
  /** Every resource of the state, in its order: what `--target` gets, one by one. */
  urns: string[];
  /** Names of resources that stay in the world and only leave the state. */
  retained: string[];
}

export interface DestroyRequest extends EngineRequest {
  /** As of an apply; asked while the engine holds the lock and has deleted nothing. */
  gate(): Promise<string[]>;
}

export interface ApplyResult {
  summary: ChangeSummary;
  checkpoint: Checkpoint;
}

/** What the state backend holds for a stack. */
export interface Checkpoint {
  /** `sha256:…` of the deployment, or `absent`. */
  hash: string;
  resources: number;
  /**
   * How many of them bring code that runs with them: dynamic resources, whose provider lies in the state, and providers
   * whose plugin the state says where to fetch (design: state is code).
   */
  dynamic: number;
  pendingOperations: PendingOperation[];
}

export interface DriftItem {
  urn: string;
  type: string;
  /** Empty for a missing resource. */
  path: string;
  kind: DriftKind;
  before?: unknown;
  after?: unknown;
}

export interface DriftResult {
  items: DriftItem[];
  resources: number;
  /** Values that only changed their form, and outputs the provider takes for no difference: counted, not listed. */
  noise?: number;
}

/** A command of the engine that a person asked for; see core/domain/exec-command.ts for what is let through. */
export interface ExecRequest {
  command: readonly string[];
  /** The state to import. */
  input?: Buffer;
}

export interface ExecResult {
  /** What the engine ended with. */
  code: number;
  /** What `stack export` printed; every other output goes to the log. */
  state: string | undefined;
}

/** Name → exact version of everything that takes part in a run: engine, host, node, and the program's SDK. */
export type EngineVersions = Record<string, string>;

/** The Pulumi engine behind one seam: slow, external, non-deterministic. Errors are `ReconcileError`s. */
export interface Engine {
  versions(programDir: string): Promise<EngineVersions>;
  /** Reads the state without a lock and without executing anything of it. */
  checkpoint(request: EngineRequest): Promise<Checkpoint>;
  /** What encrypts the secrets of the state that is there; undefined where none says it. Executes nothing of it. */
  stateProvider(request: EngineRequest): Promise<StateProvider | undefined>;
  /** Has `settings.provider` make its key where there is none, and encrypt config values by key. Touches no state. */
  encryptConfig(request: EngineRequest, values: Record<string, string>): Promise<ProviderSecrets>;
  preview(request: EngineRequest): Promise<PreviewResult>;
  /** Applies exactly `plan`. Throws `PlanStale` when the gate found differences (nothing changed). */
  apply(request: ApplyRequest): Promise<ApplyResult>;
  /**
   * What a destroy of everything would do; executes no program.
   * @throws stalled(ResourceProtected) naming what is protected
   */
  previewDestroy(request: EngineRequest): Promise<DestroyPreview>;
  /** Destroys exactly `targets`: what is not named stays, and what depends on it is not taken along. */
  destroy(request: DestroyRequest): Promise<ApplyResult>;
  /** `refresh --preview-only` and a plain preview: live and program drift. Writes nothing. */
  drift(request: EngineRequest): Promise<DriftResult>;
  /** A writing refresh of `targets` (all when empty), which never runs the program. */
  refresh(request: EngineRequest, answers: CompleteAnswer[]): Promise<Checkpoint>;
  /** Runs one allowed command by hand. Its failure is a code, not an error. */
  exec(request: EngineRequest, exec: ExecRequest): Promise<ExecResult>;
  /** Removes the lock file only if this installation's run `runId` left it; returns who else holds it, if anyone. */
  releaseOwnLock(request: EngineRequest, runIds: string[]): Promise<string | undefined>;
}
