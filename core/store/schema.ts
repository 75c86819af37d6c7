import type { ColumnType, Generated, JSONColumnType } from 'kysely';
import type { Condition } from '../domain/condition.ts';
import type { Phase } from '../domain/credential.ts';
import type { ExternalSecret, ReceiverType, Role, StackSpec, TenantSpec } from '../domain/manifest.ts';
import type { BoundDocument, ChangeSummary, PolicyReport, ResourceChange, StateIdentity } from '../domain/plan.ts';
import type { Reason } from '../domain/reason.ts';
import type { Operation, RunState, Trigger } from '../domain/run.ts';
import type { Signer, Verification } from '../domain/verification.ts';

type Timestamp = ColumnType<Date, Date | string, Date | string>;
type NullableTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
/** Set by the database where an insert does not name it. */
type DefaultNow = ColumnType<Date, Date | string | undefined, Date | string>;
type CreatedAt = ColumnType<Date, never, never>;
type Json<T> = JSONColumnType<T & object, string, string>;
type NullableJson<T> = ColumnType<T | null, string | null | undefined, string | null>;
type Nullable<T> = ColumnType<T | null, T | null | undefined, T | null>;

export interface InstallationTable {
  /** Always true: one row. */
  only: Generated<boolean>;
  id: Generated<string>;
  engine_version: Nullable<string>;
  created_at: CreatedAt;
}

export interface TenantsTable {
  name: string;
  spec: Json<TenantSpec>;
  /** Sealed 32-byte key for HMACs in plan digests; see core/secrets.ts. */
  hmac_key: Buffer;
  created_at: CreatedAt;
}

export interface SecretsTable {
  tenant: string;
  name: string;
  /** Grows by one with every change. */
  version: Generated<number>;
  /** Sealed JSON record of key → value; of an external one an empty record. */
  sealed: Buffer;
  /** Where the values are read instead, at every run. */
  external: NullableJson<ExternalSecret>;
  /** HMAC of the values an external one had when it was last read. */
  digest: Nullable<string>;
  /** Of an external one: the version that counts as a wish; it follows `version` at most every 10 minutes. */
  wanted_version: Nullable<number>;
  updated_at: DefaultNow;
}

export interface TokensTable {
  id: Generated<string>;
  /** Null: every tenant (only with role admin). */
  tenant: string | null;
  name: string;
  role: Role;
  /** sha256 of the token; the token itself is shown once. */
  hash: Buffer;
  created_at: CreatedAt;
  expires_at: NullableTimestamp;
}

export interface ReceiversTable {
  tenant: string;
  name: string;
  type: ReceiverType;
  /** Last part of the hook's path; unguessable. */
  path: string;
  secret: string;
  secret_key: string;
  suspended: Generated<boolean>;
  created_at: CreatedAt;
}

/** Durable ledger of webhook deliveries: dedupe, and "why was this ignored". */
export interface DeliveriesTable {
  tenant: string;
  receiver: string;
  key: string;
  outcome: string;
  received_at: CreatedAt;
}

/** Sealed things the worker keeps for a stack between runs. */
export interface StackSettings {
  encryptionSalt?: string;
}

/** Of a provider other than our own passphrase. Nothing in it opens anything without the provider. */
export interface SecretsProviderRecord {
  url?: string;
  encryptedKey?: string;
  /** Config key → HMAC of the value and what the engine encrypted it to. */
  ciphertexts?: Record<string, { of: string; text: string }>;
}

export interface StacksTable {
  id: Generated<string>;
  tenant: string;
  name: string;
  labels: Json<Record<string, string>>;
  spec: Json<StackSpec>;
  generation: Generated<number>;
  /** Who applied the current generation. */
  spec_by: string;
  /** Parsed from spec.source.repository for webhook look-ups: `host/name`. */
  repository: string;

  /** Level-triggered request counter: a request during a run is seen after it (requested > handled). */
  requested_seq: Generated<number>;
  handled_seq: Generated<number>;
  next_reconcile_at: NullableTimestamp;
  next_drift_at: NullableTimestamp;
  drift_requested_seq: Generated<number>;
  drift_handled_seq: Generated<number>;
  /** Set by a heal request (API or drift.action: heal), cleared when its run is made. */
  heal_requested_by: Nullable<string>;

  conditions: Json<Condition[]>;
  observed_generation: Generated<number>;
  resolved_digest: Nullable<string>;
  resolved_revision: Nullable<string>;
  resolved_at: NullableTimestamp;
  /** When the registry is asked again without being told to. */
  source_due_at: NullableTimestamp;
  /** What is known about the signatures of the resolved revision. */
  verification: NullableJson<Verification>;
  /** A digest that an immutable tag moved to and that is not taken. */
  held_digest: Nullable<string>;
  /** Hash of what the last run attempted: digest, generation, secret versions. */
  attempted_key: Nullable<string>;
  applied_digest: Nullable<string>;
  applied_revision: Nullable<string>;
  applied_generation: Nullable<number>;
  applied_run_id: Nullable<string>;
  applied_at: NullableTimestamp;
  failures: Generated<number>;

  /** Frozen at the first apply. */
  identity: NullableJson<StateIdentity>;
  /** sha256 of the checkpoint after the last run of ours, and how many resources it held. */
  checkpoint: Nullable<string>;
  checkpoint_resources: Nullable<number>;
  /** The last apply was cut off: a writing refresh comes before the next plan. */
  refresh_needed: Generated<boolean>;
  settings: Json<StackSettings>;
  /** Who asked for everything the stack made to be destroyed; cleared when that run is made. */
  destroy_requested_by: Nullable<string>;
  /** Since when nothing of the stack is left, by a destroy; cleared by the next run towards the spec. */
  destroyed_at: NullableTimestamp;
  /** The checkpoint a person accepted though something else wrote it (`StateMovedOutside`). */
  accepted_checkpoint: Nullable<string>;
  /** Who let the state's identity change (`plumb rebind`); cleared when the new one is frozen, or the old one is back. */
  rebind_by: Nullable<string>;
  /** A writing refresh of ours is under way, or was when its worker died: the state after it is ours, whatever it holds. */
  writing_state: Generated<boolean>;
  /** What the provider of the state's secrets needs again: the encrypted key, and ciphertexts it made. */
  secrets_provider: JSONColumnType<SecretsProviderRecord, string | undefined, string>;
  /** Cloud principal, account and region of the last apply. */
  applied_principal: Nullable<string>;
  /** Sealed passphrase of the stack's secrets. */
  passphrase: Nullable<Buffer>;
  /** Operations an interrupted run left, waiting for `plumb pending`. */
  pending_operations: NullableJson<PendingOperation[]>;
  /** A person's answers to them, consumed by the next reconcile. */
  pending_answers: NullableJson<PendingAnswer[]>;
  unlock_confirmed_by: Nullable<string>;
  /** Missing resources a person lets leave the state; cleared when they have. */
  accept_missing: NullableJson<AcceptMissing>;
  created_at: CreatedAt;
  updated_at: DefaultNow;
}

export interface AcceptMissing {
  urns: string[];
  by: string;
}

export interface PendingOperation {
  urn: string;
  type: string;
  operation: string;
  /** What it was to make, secrets masked; only where the state itself has no record of it. */
  resource?: Record<string, unknown>;
}

export type PendingAnswer =
  | { urn: string; answer: 'clear'; by: string }
  | { urn: string; answer: 'import'; id: string; by: string };

/** An answer with the resource it brings in, where the state has no record of the create. */
export type CompleteAnswer = PendingAnswer & { resource?: Record<string, unknown> };

/** Every digest a stack's source has named. */
export interface RevisionsTable {
  tenant: string;
  stack_id: string;
  digest: string;
  revision: string;
  /** 1, 2, 3 … per stack, by first sighting: lower = earlier. */
  ordinal: number;
  annotations: Json<Record<string, string>>;
  first_seen_at: CreatedAt;
  last_seen_at: DefaultNow;
  applied_at: NullableTimestamp;
}

/** The digest a tag of a stack's source had when it was last believed. */
export interface SourceTagsTable {
  stack_id: string;
  /** `host/name`. */
  repository: string;
  tag: string;
  digest: string;
}

/** Verdicts that held, by digest and policy: neither changes, so neither does the verdict until it runs out. */
export interface VerificationsTable {
  tenant: string;
  digest: string;
  trust_key: string;
  signers: Json<Signer[]>;
  verified_at: DefaultNow;
  valid_until: NullableTimestamp;
}

export interface RunsTable {
  id: Generated<string>;
  tenant: string;
  stack_id: string;
  /** 1, 2, 3 … per stack: what people say. */
  number: number;
  operation: Operation;
  trigger: Trigger;
  state: RunState;
  reason: Nullable<Reason>;
  message: Generated<string>;
  revision: string;
  digest: string;
  generation: number;
  /** The spec the run is made from; a heal or drift check uses that of the applied run, not a newer one that waits. */
  spec: Json<StackSpec>;
  targets: Json<string[]>;
  /** Arguments of the engine, of a run with operation `exec`; they hold no secret. */
  command: NullableJson<string[]>;
  /** Why a person asked for it. */
  comment: Generated<string>;
  /** What the engine ended with, of a run with operation `exec`. */
  exit_code: Nullable<number>;
  /** How the run was isolated, in words. */
  isolation: Generated<string>;
  requested_by: string;
  plan_digest: Nullable<string>;
  summary: NullableJson<ChangeSummary>;
  /** Why a person is needed; empty for a plan that may go on by itself. */
  needs: Json<string[]>;
  /** One line: who vouches for the artifact, or the exception it runs by. */
  signed: Generated<string>;
  approvals_required: Generated<number>;
  /** Digest of the evidence attached to the artifact; when it is tried (again), and how often it was. */
  evidence_digest: Nullable<string>;
  evidence_due_at: NullableTimestamp;
  evidence_attempts: Generated<number>;
  expires_at: NullableTimestamp;
  cancel_requested_by: Nullable<string>;
  created_at: CreatedAt;
  updated_at: DefaultNow;
  finished_at: NullableTimestamp;
}

export interface PlansTable {
  run_id: string;
  tenant: string;
  plan_digest: string;
  bound: Json<BoundDocument>;
  changes: Json<ResourceChange[]>;
  /** What the policy packs said; nothing unless it is set. */
  policies: JSONColumnType<PolicyReport, string | undefined, string>;
  /** Sealed update-plan file. */
  bytes: Buffer;
  created_at: CreatedAt;
}

export const DECISIONS = ['approved', 'discarded', 'overridden'] as const;
export type Decision = (typeof DECISIONS)[number];

export interface ApprovalsTable {
  id: Generated<string>;
  tenant: string;
  run_id: string;
  plan_digest: string;
  decision: Decision;
  actor: string;
  comment: string;
  created_at: CreatedAt;
}

export const DRIFT_KINDS = ['changed', 'missing', 'pending-change', 'state-moved'] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

export interface DriftItemsTable {
  tenant: string;
  stack_id: string;
  urn: string;
  /** Empty for a missing resource. */
  path: string;
  type: string;
  kind: DriftKind;
  before: NullableJson<unknown>;
  after: NullableJson<unknown>;
  /** Neither reported as drift nor healed until then, by `spec.drift.ignore`. */
  ignored_until: NullableTimestamp;
  /** Why, in the words of the rule. */
  ignored_reason: Nullable<string>;
  first_seen_at: DefaultNow;
  last_seen_at: DefaultNow;
}

/** One row per healed property, for `HealLoop`. */
export interface HealsTable {
  tenant: string;
  stack_id: string;
  urn: string;
  path: string;
  /** The value that was found and the one it was set back to; secrets are masked. */
  found: NullableJson<unknown>;
  wanted: NullableJson<unknown>;
  healed_at: CreatedAt;
}

export const SEVERITIES = ['info', 'warning', 'error'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The outbox: facts in commit order by (txid, id); read below the oldest open transaction. */
export interface EventsTable {
  id: Generated<string>;
  txid: ColumnType<string, never, never>;
  tenant: string;
  stack_id: Nullable<string>;
  run_id: Nullable<string>;
  type: string;
  reason: Nullable<Reason>;
  severity: Severity;
  message: string;
  actor: string;
  data: Json<Record<string, unknown>>;
  created_at: CreatedAt;
}

/** Two lanes: `run` writes state, `drift` only looks. */
export const LANES = ['run', 'drift'] as const;
export type Lane = (typeof LANES)[number];

export interface LeasesTable {
  stack_id: string;
  lane: Lane;
  tenant: string;
  /** Empty when nobody holds the lease; the row stays, so that the fence keeps growing. */
  worker_id: string;
  /** Grows with every take-over; every write under the lease names it. */
  fence: number;
  boot_id: string;
  /** Inode of the PID namespace the worker itself lives in: only there can its children be seen. */
  worker_pidns: string;
  /** Inode of the PID namespace of the engine process under way; null while none runs. */
  run_pidns: Nullable<string>;
  run_id: Nullable<string>;
  acquired_at: Timestamp;
  expires_at: Timestamp;
}

export interface WorkersTable {
  id: string;
  tenant: string;
  boot_id: string;
  pid: number;
  engine_version: string;
  started_at: DefaultNow;
  heartbeat_at: DefaultNow;
}

/** Bounded output of the engine, scrubbed. */
export interface RunLogsTable {
  id: Generated<string>;
  tenant: string;
  run_id: string;
  text: string;
  created_at: CreatedAt;
}

/** Every identity token that was minted lately, without the token: nonces are used once, and runs get only so many. */
export interface IdentityTokensTable {
  /** Of the request. */
  nonce: string;
  tenant: string;
  run_id: string;
  phase: Phase;
  jti: string;
  minted_at: DefaultNow;
}

/** `input`: what a person sent along with a command. `state`: what they asked for. */
export type RunFileKind = 'input' | 'state';

/** What is too large or too private for a log, for a short time. */
export interface RunFilesTable {
  run_id: string;
  tenant: string;
  kind: RunFileKind;
  /** Bound to run and kind. */
  sealed: Buffer;
  expires_at: Timestamp;
}

export interface Schema {
  installation: InstallationTable;
  tenants: TenantsTable;
  secrets: SecretsTable;
  tokens: TokensTable;
  receivers: ReceiversTable;
  deliveries: DeliveriesTable;
  stacks: StacksTable;
  revisions: RevisionsTable;
  source_tags: SourceTagsTable;
  verifications: VerificationsTable;
  runs: RunsTable;
  plans: PlansTable;
  approvals: ApprovalsTable;
  drift_items: DriftItemsTable;
  heals: HealsTable;
  events: EventsTable;
  leases: LeasesTable;
  workers: WorkersTable;
  run_logs: RunLogsTable;
  identity_tokens: IdentityTokensTable;
  run_files: RunFilesTable;
}
