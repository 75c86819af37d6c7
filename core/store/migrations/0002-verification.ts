import { sql, type Kysely } from 'kysely';

/**
 * Signatures. Tenants that are there already keep running what they ran, visibly unsigned, until they say whose signatures
 * count; new ones require them.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`update tenants set spec = spec || '{"signatures": "optional"}' where not spec ? 'signatures'`.execute(db);
  await sql`alter table stacks add column verification jsonb, add column held_digest text`.execute(db);
  await sql`alter table runs 
    add column signed text not null default '',
    add column evidence_digest text,
    add column evidence_due_at timestamptz,
    add column evidence_attempts integer not null default 0`.execute(db);
  await sql`
    create index runs_evidence on runs (tenant)
    where finished_at is not null and plan_digest is not null and evidence_digest is null and spec ? 'evidence'`.execute(
    db,
  );
  await sql`
    create table verifications (
      tenant text not null references tenants on delete cascade,
      digest text not null,
      trust_key text not null,
      signers jsonb not null,
      verified_at timestamptz not null default clock_timestamp(),
      valid_until timestamptz,
      primary key (tenant, digest, trust_key)
    )`.execute(db);
}
