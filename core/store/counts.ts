import { sql } from 'kysely';
import type { Operation, RunState } from '../domain/run.ts';
import type { Queryable } from './database.ts';

/** Stacks of one tenant with the same Ready condition, how many of them drifted, and how many run what nobody signed. */
export interface StackCount {
  tenant: string;
  ready: string;
  reason: string;
  drifted: number;
  unsigned: number;
  count: number;
}

/** Counts stacks for the metrics; a few rows whatever their number. */
export async function countStacks(db: Queryable): Promise<StackCount[]> {
  const condition = (type: string, field: string) =>
    sql<string>`coalesce(jsonb_path_query_first(conditions, '$[*] ? (@.type == $type)', jsonb_build_object('type', ${type}::text))->>${field}, 'Unknown')`;
  const { rows } = await sql<StackCount>`
    select tenant, ready, reason, (count(*) filter (where drift = 'True'))::int as drifted,
      (count(*) filter (where signed = 'Unsigned'))::int as unsigned, count(*)::int as count
    from (select tenant, ${condition('Ready', 'status')} as ready, ${condition('Ready', 'reason')} as reason,
      ${condition('Drifted', 'status')} as drift, ${condition('SourceVerified', 'reason')} as signed from stacks) as seen
    group by tenant, ready, reason`.execute(db);
  return rows;
}

/** Counts the runs on record. */
export async function countRuns(
  db: Queryable,
): Promise<{ tenant: string; operation: Operation; state: RunState; count: number }[]> {
  return await db
    .selectFrom('runs')
    .select(['tenant', 'operation', 'state', sql<number>`count(*)::int`.as('count')])
    .groupBy(['tenant', 'operation', 'state'])
    .execute();
}
