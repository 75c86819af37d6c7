import { sql } from 'kysely';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { RunState } from '#core/domain/run.ts';
import type { Database } from '#core/store/database.ts';
import { createRun, moveRun, type NewRun, type RunRow } from '#core/store/runs.ts';
import { applyStack, type StackRow } from '#core/store/stacks.ts';
import { createTenant } from '#core/store/tenants.ts';

export const DIGEST = `sha256:${'a'.repeat(64)}`;
export const PLAN_DIGEST = `sha256:${'b'.repeat(64)}`;

export const SPEC: StackSpec = {
  source: { repository: 'oci://registry.example/infra/shop', ref: { tag: 'prod' } },
  pulumi: { stack: 'prod' },
};

/** Makes a tenant whose sealed key is not meant to be opened. */
export async function addTenant(db: Database, name = 'shop'): Promise<void> {
  await createTenant(db, { name, spec: {}, hmacKeySealed: Buffer.alloc(1) });
}

/** Makes a stack of a tenant that exists. */
export async function addStack(
  db: Database,
  wanted: { tenant?: string; name?: string; spec?: StackSpec; by?: string } = {},
): Promise<StackRow> {
  const { tenant = 'shop', name = 'shop-prod', spec = SPEC, by = 'shop/owner' } = wanted;
  const { stack } = await applyStack(db, {
    tenant,
    name,
    labels: {},
    spec,
    repository: 'registry.example/infra/shop',
    by,
  });
  return stack;
}

/** Makes a pending run. */
export async function addRun(db: Database, stack: StackRow, wanted: Partial<NewRun> = {}): Promise<RunRow> {
  return await db.transaction().execute((trx) =>
    createRun(trx, {
      tenant: stack.tenant,
      stackId: stack.id,
      operation: 'update',
      trigger: 'revision',
      revision: `prod@${DIGEST}`,
      digest: DIGEST,
      generation: stack.generation,
      spec: stack.spec,
      targets: [],
      requestedBy: 'plumbline',
      ...wanted,
    }),
  );
}

const WAY: RunState[] = [
  'pending',
  'verifying',
  'fetching',
  'planning',
  'awaiting_approval',
  'approved',
  'applying',
  'applied',
];

/** Moves a pending run along the usual way to a state. */
export async function walkRun(db: Database, run: RunRow, to: RunState): Promise<RunRow> {
  let now = run;
  for (const next of WAY.slice(1, WAY.indexOf(to) + 1)) {
    const from = now.state;
    now = await db.transaction().execute((trx) => moveRun(trx, { runId: run.id, from, to: next }));
  }
  return now;
}

/** Makes a run that waits for the approval of `PLAN_DIGEST`. */
export async function addWaitingRun(db: Database, stack: StackRow, required = 1): Promise<RunRow> {
  const run = await walkRun(db, await addRun(db, stack), 'awaiting_approval');
  return await db
    .updateTable('runs')
    .set({
      plan_digest: PLAN_DIGEST,
      approvals_required: required,
      expires_at: sql`clock_timestamp() + interval '1 hour'`,
    })
    .where('id', '=', run.id)
    .returningAll()
    .executeTakeFirstOrThrow();
}
