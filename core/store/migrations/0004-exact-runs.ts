import { sql, type Kysely } from 'kysely';
import { OPERATIONS, RUN_STATES } from '../../domain/run.ts';
import { DECISIONS, DRIFT_KINDS } from '../schema.ts';

/** Columns whose words have grown since they were made. */
const WORDS: readonly [table: string, column: string, words: readonly string[]][] = [
  ['runs', 'operation', OPERATIONS],
  ['runs', 'state', RUN_STATES],
  ['approvals', 'decision', DECISIONS],
  ['drift_items', 'kind', DRIFT_KINDS],
];

/** What exact and safe runs need: policies, isolation, identities of clouds, destroys, work by hand, and drift that is ignored. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table stacks
      add column destroy_requested_by text,
      add column destroyed_at timestamptz,
      add column accepted_checkpoint text,
      add column rebind_by text,
      add column secrets_provider jsonb not null default '{}',
      add column applied_principal text`.execute(db);
  await sql`
    alter table runs
      add column isolation text not null default '',
      add column command jsonb,
      add column comment text not null default ''`.execute(db);
  await sql`alter table plans add column policies jsonb not null default '{"packs":[],"violations":[],"remediations":[]}'`.execute(
    db,
  );
  await sql`alter table drift_items add column ignored_until timestamptz`.execute(db);
  await sql`alter table secrets add column external jsonb`.execute(db);
  await sql`alter table secrets add column digest text, add column wanted_version integer`.execute(db);
  await sql`alter table drift_items add column ignored_reason text`.execute(db);
  await sql`alter table heals add column found jsonb, add column wanted jsonb`.execute(db);
  await sql`alter table stacks add column accept_missing jsonb`.execute(db);
  await sql`create table identity_tokens (
    nonce text primary key,
    tenant text not null,
    run_id bigint not null,
    phase text not null check (phase in ('plan', 'apply')),
    jti uuid not null,
    minted_at timestamptz not null default clock_timestamp(),
    foreign key (tenant, run_id) references runs (tenant, id) on delete cascade
  )`.execute(db);
  await sql`create index identity_tokens_by_run on identity_tokens (run_id, phase, minted_at)`.execute(db);
  await sql`alter table stacks add column writing_state boolean not null default false`.execute(db);
  await sql`alter table runs add column exit_code integer`.execute(db);
  await sql`create table run_files (
    run_id bigint not null,
    tenant text not null,
    kind text not null check (kind in ('input', 'state')),
    sealed bytea not null,
    expires_at timestamptz not null,
    primary key (run_id, kind),
    foreign key (tenant, run_id) references runs (tenant, id) on delete cascade
  )`.execute(db);
  for (const [table, column, words] of WORDS) {
    const name = sql.ref(`${table}_${column}_check`);
    const literals = sql.join(words.map((word) => sql.lit(word)));
    await sql`alter table ${sql.table(table)} drop constraint if exists ${name}`.execute(db);
    await sql`alter table ${sql.table(table)} add constraint ${name} check (${sql.ref(column)} in (${literals}))`.execute(
      db,
    );
  }
}
