import { sql, type RawBuilder } from 'kysely';
import type { Queryable } from './database.ts';
import type { Lane } from './schema.ts';

/** Somebody is at it: what is due meanwhile is due again when the lease ends. */
function held(lane: Lane): RawBuilder<boolean> {
  return sql<boolean>`exists (select from leases where leases.stack_id = stacks.id and lane = ${lane}
    and worker_id <> '' and expires_at > clock_timestamp())`;
}

/** A worker died with the lease in its hand: someone must look, whatever the stack's own times say. */
function abandoned(lane: Lane): RawBuilder<boolean> {
  return sql<boolean>`exists (select from leases where leases.stack_id = stacks.id and lane = ${lane}
    and worker_id <> '' and expires_at <= clock_timestamp())`;
}

/** Ids of the tenant's stacks somebody should look at now, the longest due first. */
export async function dueStacks(db: Queryable, at: { tenant: string; limit: number }): Promise<string[]> {
  const rows = await db
    .selectFrom('stacks')
    .select('id')
    .where('tenant', '=', at.tenant)
    .where(sql<boolean>`(next_reconcile_at <= clock_timestamp() or requested_seq > handled_seq or ${abandoned('run')})`)
    .where(sql<boolean>`not ${held('run')}`)
    .orderBy(sql`next_reconcile_at nulls last`)
    .orderBy('id')
    .limit(at.limit)
    .execute();
  return rows.map((row) => row.id);
}

/**
 * Ids of the tenant's stacks whose live world should be checked now, the longest due first. A stack that was applied and
 * never checked is due at once; a suspended one never.
 */
export async function dueDrift(db: Queryable, at: { tenant: string; limit: number }): Promise<string[]> {
  const rows = await db
    .selectFrom('stacks')
    .select('id')
    .where('tenant', '=', at.tenant)
    .where('applied_run_id', 'is not', null)
    .where(sql<boolean>`coalesce(spec->>'suspend', 'false') <> 'true'`)
    .where(
      sql<boolean>`(next_drift_at is null or next_drift_at <= clock_timestamp()
        or drift_requested_seq > drift_handled_seq or ${abandoned('drift')})`,
    )
    .where(sql<boolean>`not ${held('drift')}`)
    .orderBy(sql`next_drift_at nulls first`)
    .orderBy('id')
    .limit(at.limit)
    .execute();
  return rows.map((row) => row.id);
}
