import { sql, type Kysely, type RawBuilder } from 'kysely';
import { RECEIVER_TYPES, ROLES } from '../../domain/manifest.ts';
import { OPERATIONS, RUN_STATES, TRANSITIONS, TRIGGERS } from '../../domain/run.ts';
import { DECISIONS, DRIFT_KINDS, LANES, SEVERITIES } from '../schema.ts';

function literals(values: readonly string[]): RawBuilder<unknown> {
  return sql.join(values.map((value) => sql.lit(value)));
}

const finished = RUN_STATES.filter((state) => TRANSITIONS[state].length === 0);

const installation = sql`
  create table installation (
    "only" boolean primary key default true check ("only"),
    id uuid not null default gen_random_uuid(),
    engine_version text,
    created_at timestamptz not null default clock_timestamp()
  )`;

const tenants = sql`
  create table tenants (
    name text primary key,
    spec jsonb not null,
    hmac_key bytea not null,
    created_at timestamptz not null default clock_timestamp()
  )`;

const secrets = sql`
  create table secrets (
    tenant text not null references tenants on delete cascade,
    name text not null,
    version integer not null default 1,
    sealed bytea not null,
    updated_at timestamptz not null default clock_timestamp(),
    primary key (tenant, name)
  )`;

const tokens = sql`
  create table tokens (
    id bigint generated always as identity primary key,
    tenant text references tenants on delete cascade,
    name text not null,
    role text not null check (role in (${literals(ROLES)})),
    hash bytea not null unique check (octet_length(hash) = 32),
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    unique nulls not distinct (tenant, name),
    check (tenant is not null or role = 'admin')
  )`;

const receivers = sql`
  create table receivers (
    tenant text not null references tenants on delete cascade,
    name text not null,
    type text not null check (type in (${literals(RECEIVER_TYPES)})),
    path text not null unique,
    secret text not null,
    secret_key text not null,
    suspended boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    primary key (tenant, name)
  )`;

const deliveries = sql`
  create table deliveries (
    tenant text not null,
    receiver text not null,
    key text not null,
    outcome text not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (tenant, receiver, key),
    foreign key (tenant, receiver) references receivers (tenant, name) on delete cascade
  )`;

const stacks = sql`
  create table stacks (
    id bigint generated always as identity primary key,
    tenant text not null references tenants,
    name text not null,
    labels jsonb not null,
    spec jsonb not null,
    generation integer not null default 1,
    spec_by text not null,
    repository text not null,
    requested_seq integer not null default 1,
    handled_seq integer not null default 0 check (handled_seq <= requested_seq),
    next_reconcile_at timestamptz default clock_timestamp(),
    next_drift_at timestamptz,
    drift_requested_seq integer not null default 0,
    drift_handled_seq integer not null default 0 check (drift_handled_seq <= drift_requested_seq),
    heal_requested_by text,
    conditions jsonb not null,
    observed_generation integer not null default 0,
    resolved_digest text,
    resolved_revision text,
    resolved_at timestamptz,
    source_due_at timestamptz,
    attempted_key text,
    applied_digest text,
    applied_revision text,
    applied_generation integer,
    applied_run_id bigint,
    applied_at timestamptz,
    failures integer not null default 0,
    identity jsonb,
    checkpoint text,
    checkpoint_resources integer,
    refresh_needed boolean not null default false,
    settings jsonb not null,
    passphrase bytea,
    pending_operations jsonb,
    pending_answers jsonb,
    unlock_confirmed_by text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    unique (tenant, name),
    unique (tenant, id)
  )`;

const revisions = sql`
  create table revisions (
    tenant text not null,
    stack_id bigint not null,
    digest text not null,
    revision text not null,
    ordinal integer not null,
    annotations jsonb not null,
    first_seen_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    applied_at timestamptz,
    primary key (stack_id, digest),
    unique (stack_id, ordinal),
    foreign key (tenant, stack_id) references stacks (tenant, id) on delete cascade
  )`;

const runs = sql`
  create table runs (
    id bigint generated always as identity primary key,
    tenant text not null,
    stack_id bigint not null,
    number integer not null,
    operation text not null check (operation in (${literals(OPERATIONS)})),
    trigger text not null check (trigger in (${literals(TRIGGERS)})),
    state text not null check (state in (${literals(RUN_STATES)})),
    reason text,
    message text not null default '',
    revision text not null,
    digest text not null,
    generation integer not null,
    spec jsonb not null,
    targets jsonb not null,
    requested_by text not null,
    plan_digest text,
    summary jsonb,
    needs jsonb not null,
    approvals_required integer not null default 1 check (approvals_required >= 1),
    expires_at timestamptz,
    cancel_requested_by text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    unique (stack_id, number),
    unique (tenant, id),
    check ((finished_at is not null) = (state in (${literals(finished)}))),
    foreign key (tenant, stack_id) references stacks (tenant, id) on delete cascade
  )`;

const plans = sql`
  create table plans (
    run_id bigint primary key,
    tenant text not null,
    plan_digest text not null,
    bound jsonb not null,
    changes jsonb not null,
    bytes bytea not null,
    created_at timestamptz not null default clock_timestamp(),
    foreign key (tenant, run_id) references runs (tenant, id) on delete cascade
  )`;

const approvals = sql`
  create table approvals (
    id bigint generated always as identity primary key,
    tenant text not null,
    run_id bigint not null,
    plan_digest text not null,
    decision text not null check (decision in (${literals(DECISIONS)})),
    actor text not null,
    comment text not null,
    created_at timestamptz not null default clock_timestamp(),
    unique (run_id, decision, actor),
    foreign key (tenant, run_id) references runs (tenant, id) on delete cascade
  )`;

const driftItems = sql`
  create table drift_items (
    tenant text not null,
    stack_id bigint not null,
    urn text not null,
    path text not null,
    type text not null,
    kind text not null check (kind in (${literals(DRIFT_KINDS)})),
    before jsonb,
    after jsonb,
    first_seen_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    foreign key (tenant, stack_id) references stacks (tenant, id) on delete cascade
  )`;

const heals = sql`
  create table heals (
    tenant text not null,
    stack_id bigint not null,
    urn text not null,
    path text not null,
    healed_at timestamptz not null default clock_timestamp(),
    foreign key (tenant, stack_id) references stacks (tenant, id) on delete cascade
  )`;

const events = sql`
  create table events (
    id bigint generated always as identity primary key,
    txid xid8 not null default pg_current_xact_id(),
    tenant text not null references tenants,
    stack_id bigint references stacks on delete set null,
    run_id bigint references runs on delete set null,
    type text not null,
    reason text,
    severity text not null check (severity in (${literals(SEVERITIES)})),
    message text not null,
    actor text not null,
    data jsonb not null,
    created_at timestamptz not null default clock_timestamp()
  )`;

const leases = sql`
  create table leases (
    stack_id bigint not null,
    lane text not null check (lane in (${literals(LANES)})),
    tenant text not null,
    worker_id text not null,
    fence integer not null,
    boot_id text not null,
    worker_pidns text not null,
    run_pidns text,
    run_id bigint references runs on delete set null,
    acquired_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (stack_id, lane),
    foreign key (tenant, stack_id) references stacks (tenant, id) on delete cascade
  )`;

const workers = sql`
  create table workers (
    id text primary key,
    tenant text not null,
    boot_id text not null,
    pid integer not null,
    engine_version text not null,
    started_at timestamptz not null default clock_timestamp(),
    heartbeat_at timestamptz not null default clock_timestamp()
  )`;

const runLogs = sql`
  create table run_logs (
    id bigint generated always as identity primary key,
    tenant text not null,
    run_id bigint not null,
    text text not null,
    created_at timestamptz not null default clock_timestamp(),
    foreign key (tenant, run_id) references runs (tenant, id) on delete cascade
  )`;

const identityParts = sql`(identity->>'backend'), (identity->>'organization'), (identity->>'project'), (identity->>'stack')`;

const indexes = [
  // Rule 8: one state, one stack, over all tenants.
  sql`create unique index stacks_identity on stacks (${identityParts}) where identity is not null`,
  sql`create index stacks_repository on stacks (tenant, repository)`,
  sql`create index stacks_due on stacks (tenant, next_reconcile_at)`,
  sql`create index stacks_requested on stacks (tenant) where requested_seq > handled_seq`,
  sql`create index stacks_drift_due on stacks (tenant, next_drift_at) where applied_run_id is not null`,
  sql`create unique index runs_one_live on runs (stack_id)
      where operation <> 'drift' and state not in (${literals(finished)})`,
  sql`create unique index runs_one_live_drift on runs (stack_id)
      where operation = 'drift' and state not in (${literals(finished)})`,
  // Not unique by constraint alone: a long URN and path together may be over the size of an index row.
  sql`create unique index drift_items_key on drift_items (stack_id, md5(urn), md5(path))`,
  sql`create index heals_recent on heals (stack_id, healed_at)`,
  sql`create index events_order on events (tenant, txid, id)`,
  sql`create index events_of_stack on events (stack_id, txid, id)`,
  sql`create index deliveries_age on deliveries (received_at)`,
  sql`create index run_logs_of_run on run_logs (run_id, id)`,
  sql`create index workers_of_tenant on workers (tenant, heartbeat_at)`,
];

/** Every table of the first version. Keys hold the tenant, so that no row can point into another's. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const tables = [
    installation,
    tenants,
    secrets,
    tokens,
    receivers,
    deliveries,
    stacks,
    revisions,
    runs,
    plans,
    approvals,
    driftItems,
    heals,
    events,
    leases,
    workers,
    runLogs,
  ];
  for (const statement of [...tables, ...indexes]) await statement.execute(db);
  await sql`alter table stacks add foreign key (applied_run_id) references runs on delete set null`.execute(db);
}
