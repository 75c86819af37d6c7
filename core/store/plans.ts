import type { Selectable, Transaction } from 'kysely';
import type { BoundDocument, PolicyReport, ResourceChange } from '../domain/plan.ts';
import type { Queryable } from './database.ts';
import type { PlansTable, Schema } from './schema.ts';

export type PlanRow = Selectable<PlansTable>;

export interface NewPlan {
  tenant: string;
  runId: string;
  planDigest: string;
  bound: BoundDocument;
  changes: readonly ResourceChange[];
  policies?: PolicyReport;
  /** Sealed update-plan file. */
  bytes: Buffer;
}

/** Keeps what a preview came to; a run has one plan for ever. */
export async function savePlan(trx: Transaction<Schema>, plan: NewPlan): Promise<void> {
  await trx
    .insertInto('plans')
    .values({
      run_id: plan.runId,
      tenant: plan.tenant,
      plan_digest: plan.planDigest,
      bound: JSON.stringify(plan.bound),
      changes: JSON.stringify(plan.changes),
      bytes: plan.bytes,
      ...(plan.policies && { policies: JSON.stringify(plan.policies) }),
    })
    .execute();
}

export async function getPlan(db: Queryable, runId: string): Promise<PlanRow | undefined> {
  return await db.selectFrom('plans').selectAll().where('run_id', '=', runId).executeTakeFirst();
}
