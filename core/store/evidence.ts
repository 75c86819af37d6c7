import { sql } from 'kysely';
import { EVIDENCE_TRIES, EVIDENT_STATES, evidenceRetryMs } from '../domain/evidence.ts';
import { clock, clockPlus } from './clock.ts';
import type { Queryable } from './database.ts';
import { inTransaction } from './database.ts';
import type { RunRow } from './runs.ts';

/**
 * Takes finished runs whose evidence is due, at most `limit`, and counts the try: whoever dies over one leaves it to be
 * tried again.
 */
export async function claimEvidence(db: Queryable, tenant: string, limit: number): Promise<RunRow[]> {
  return await inTransaction(db, async (trx) => {
    const due = await trx
      .selectFrom('runs')
      .select(['id', 'evidence_attempts'])
      .where('tenant', '=', tenant)
      .where('state', 'in', EVIDENT_STATES)
      .where('finished_at', 'is not', null)
      .where('plan_digest', 'is not', null)
      .where('evidence_digest', 'is', null)
      .where(sql<boolean>`spec ? 'evidence'`)
      .where('evidence_attempts', '<', EVIDENCE_TRIES)
      .where(sql<boolean>`coalesce(evidence_due_at, finished_at) <= clock_timestamp()`)
      .orderBy('id')
      .limit(limit)
      .forUpdate()
      .skipLocked()
      .execute();
    const claimed: RunRow[] = [];
    for (const { id, evidence_attempts: attempts } of due) {
      const row = await trx
        .updateTable('runs')
        .set({ evidence_attempts: attempts + 1, evidence_due_at: clockPlus(evidenceRetryMs(attempts + 1)) })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      claimed.push(row);
    }
    return claimed;
  });
}

/** Notes the digest of what was attached. */
export async function markEvidence(db: Queryable, runId: string, digest: string): Promise<void> {
  await db
    .updateTable('runs')
    .set({ evidence_digest: digest, evidence_due_at: null, updated_at: clock() })
    .where('id', '=', runId)
    .execute();
}
