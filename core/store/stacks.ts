import { sql, type Selectable, type Transaction, type UpdateObject } from 'kysely';
import { DESTROYED_KEY, destroyedKey } from '../domain/decide.ts';
import { parseDuration } from '../domain/duration.ts';
import { DEFAULTS, type StackSpec } from '../domain/manifest.ts';
import { canonicalJson, type StateIdentity } from '../domain/plan.ts';
import { summarize, type Outcome } from '../domain/summarize.ts';
import { clock, clockPlus, databaseNow } from './clock.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import type { Schema, StacksTable } from './schema.ts';
import type { ApplyOutcome } from './tenants.ts';

export type StackRow = Selectable<StacksTable>;
export type StackPatch = UpdateObject<Schema, 'stacks', 'stacks'>;

/** The desired state is attempted again, unless the stack was destroyed: that stays so until a person says otherwise. */
export const UNLESS_DESTROYED: StackPatch = {
  attempted_key: sql`case when attempted_key like ${`${DESTROYED_KEY}%`} then attempted_key end`,
};

/** Whether nothing is made again by itself, because a destroy took what there was, or a part of it. */
export function isDestroyed(stack: Pick<StackRow, 'attempted_key' | 'generation'>): boolean {
  return stack.attempted_key === destroyedKey(stack.generation);
}

export interface StackToApply {
  tenant: string;
  name: string;
  labels: Record<string, string>;
  spec: StackSpec;
  /** `host/name`, as webhooks name it. */
  repository: string;
  by: string;
}

/** Makes or changes a stack. A new generation, and a request to look at it, only when the spec differs. */
export async function applyStack(
  db: Queryable,
  wanted: StackToApply,
): Promise<{ stack: StackRow; outcome: ApplyOutcome }> {
  return await inTransaction(db, async (trx) => {
    const created = await insertStack(trx, wanted);
    const found = created ?? (await getStack(trx, wanted.tenant, wanted.name, 'locked'));
    if (found === undefined) throw new Error(`stack ${wanted.name} was deleted while it was applied`);
    const specChanged = created === undefined && canonicalJson(found.spec) !== canonicalJson(wanted.spec);
    const labelsChanged = canonicalJson(found.labels) !== canonicalJson(wanted.labels);
    if (specChanged) await changeSpec(trx, found, wanted);
    if (labelsChanged) await patchStack(trx, found.id, { labels: JSON.stringify(wanted.labels) });
    const outcome = created !== undefined ? 'created' : specChanged || labelsChanged ? 'changed' : 'unchanged';
    const stack = await lockStack(trx, found.id);
    if (outcome !== 'unchanged') await recordApplied(trx, stack, outcome, wanted.by);
    return { stack, outcome };
  });
}

async function insertStack(trx: Transaction<Schema>, wanted: StackToApply): Promise<StackRow | undefined> {
  return await trx
    .insertInto('stacks')
    .values({
      tenant: wanted.tenant,
      name: wanted.name,
      labels: JSON.stringify(wanted.labels),
      spec: JSON.stringify(wanted.spec),
      spec_by: wanted.by,
      repository: wanted.repository,
      conditions: JSON.stringify(
        summarize(
          [],
          { type: 'progress', reason: 'Pending', message: 'not looked at yet' },
          { generation: 1, now: await databaseNow(trx) },
        ),
      ),
      settings: '{}',
    })
    .onConflict((conflict) => conflict.columns(['tenant', 'name']).doNothing())
    .returningAll()
    .executeTakeFirst();
}

async function changeSpec(
  trx: Transaction<Schema>,
  stack: StackRow,
  wanted: Pick<StackToApply, 'spec' | 'repository' | 'by'>,
) {
  const driftMs = parseDuration(wanted.spec.drift?.interval ?? DEFAULTS.driftInterval);
  await patchStack(trx, stack.id, {
    spec: JSON.stringify(wanted.spec),
    repository: wanted.repository,
    spec_by: wanted.by,
    generation: sql`generation + 1`,
    requested_seq: sql`requested_seq + 1`,
    next_reconcile_at: clock(),
    // A shorter interval counts from now; null stays null.
    next_drift_at: sql`case when next_drift_at is not null then least(next_drift_at, ${clockPlus(driftMs)}) end`,
  });
}

async function recordApplied(
  trx: Transaction<Schema>,
  stack: StackRow,
  outcome: 'created' | 'changed',
  by: string,
): Promise<void> {
  await recordEvent(trx, {
    tenant: stack.tenant,
    stackId: stack.id,
    type: 'StackApplied',
    message: `${stack.name} ${outcome}: generation ${stack.generation}`,
    actor: by,
    data: { generation: stack.generation, outcome },
  });
}

/** Sets `spec.suspend`, which is a new generation unless it is so already. */
export async function setSuspended(
  db: Queryable,
  at: { tenant: string; stackId: string; suspended: boolean; by: string },
): Promise<ApplyOutcome> {
  return await inTransaction(db, async (trx) => {
    const stack = await lockStack(trx, at.stackId, at.tenant);
    if ((stack.spec.suspend ?? false) === at.suspended) return 'unchanged';
    const spec = { ...stack.spec, suspend: at.suspended };
    await changeSpec(trx, stack, { spec, repository: stack.repository, by: at.by });
    // Neither resting nor going on is a wish for what was destroyed.
    if (isDestroyed(stack)) await patchStack(trx, stack.id, { attempted_key: destroyedKey(stack.generation + 1) });
    const type = at.suspended ? 'StackSuspended' : 'StackResumed';
    await recordEvent(trx, {
      tenant: at.tenant,
      stackId: stack.id,
      type,
      message: `${stack.name}: suspend ${at.suspended}`,
      actor: at.by,
    });
    return 'changed';
  });
}

export async function getStack(
  db: Queryable,
  tenant: string,
  name: string,
  locked?: 'locked',
): Promise<StackRow | undefined> {
  const query = db.selectFrom('stacks').selectAll().where('tenant', '=', tenant).where('name', '=', name);
  return await (locked === undefined ? query : query.forUpdate()).executeTakeFirst();
}

export async function getStackById(db: Queryable, id: string): Promise<StackRow | undefined> {
  return await db.selectFrom('stacks').selectAll().where('id', '=', id).executeTakeFirst();
}

/** Locks the row for the rest of the transaction. Order of locks: lease, stack, run. @throws when the stack is gone. */
export async function lockStack(trx: Transaction<Schema>, id: string, tenant?: string): Promise<StackRow> {
  const query = trx.selectFrom('stacks').selectAll().where('id', '=', id).forUpdate();
  const stack = await (tenant === undefined ? query : query.where('tenant', '=', tenant)).executeTakeFirst();
  if (stack === undefined) throw new Error(`stack ${id} does not exist any more`);
  return stack;
}

/** By name; `after` is the last name of the page before. */
export async function listStacks(
  db: Queryable,
  at: { tenant: string; limit: number; after?: string | undefined },
): Promise<StackRow[]> {
  const query = db.selectFrom('stacks').selectAll().where('tenant', '=', at.tenant).orderBy('name').limit(at.limit);
  return await (at.after === undefined ? query : query.where('name', '>', at.after)).execute();
}

/** Sets columns of a stack. Worker status goes through the lease first; see `assertLease`. */
export async function patchStack(db: Queryable, id: string, patch: StackPatch): Promise<void> {
  await db
    .updateTable('stacks')
    .set({ ...patch, updated_at: clock() })
    .where('id', '=', id)
    .execute();
}

/** Writes an outcome found without a lease (for example `HolderUnknown`), once: an event only when it is news. */
export async function markStack(db: Queryable, stackId: string, outcome: Outcome): Promise<void> {
  await inTransaction(db, async (trx) => {
    const stack = await lockStack(trx, stackId);
    const known = stack.conditions.some((item) => item.reason === outcome.reason && item.message === outcome.message);
    if (known) return;
    const at = { generation: stack.generation, now: await databaseNow(trx) };
    await patchStack(trx, stackId, { conditions: JSON.stringify(summarize(stack.conditions, outcome, at)) });
    await recordEvent(trx, {
      tenant: stack.tenant,
      stackId,
      type: outcome.reason,
      reason: outcome.reason,
      severity: outcome.type === 'failed' ? 'error' : 'info',
      message: outcome.message,
      actor: 'plumbline',
    });
  });
}

/** The stack that owns a state, of any tenant (rule 8: unique in the installation). */
export async function stackWithIdentity(db: Queryable, identity: StateIdentity): Promise<StackRow | undefined> {
  return await db
    .selectFrom('stacks')
    .selectAll()
    .where(
      sql<boolean>`(identity->>'backend', identity->>'organization', identity->>'project', identity->>'stack')
        = (${identity.backend}, ${identity.organization}, ${identity.project}, ${identity.stack})`,
    )
    .executeTakeFirst();
}
