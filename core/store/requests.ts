import { sql, type Transaction } from 'kysely';
import { isFinished, RUN_STATES } from '../domain/run.ts';
import { clock } from './clock.ts';
import { Conflict } from './conflict.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import type { PendingAnswer, Schema } from './schema.ts';
import { lockStack, patchStack, type StackPatch, type StackRow } from './stacks.ts';

/** Who asks for something on a stack. The caller rings after the commit. */
export interface StackRequest {
  tenant: string;
  stackId: string;
  by: string;
}

const UNFINISHED = RUN_STATES.filter((state) => !isFinished(state));

const ASK: StackPatch = { requested_seq: sql`requested_seq + 1`, next_reconcile_at: clock() };

/** Counts a request, so that one that arrives during a reconcile is seen after it; no event. Locks the stack's row. */
export async function bumpRequest(trx: Transaction<Schema>, tenant: string, stackId: string): Promise<void> {
  await trx.updateTable('stacks').set(ASK).where('tenant', '=', tenant).where('id', '=', stackId).execute();
}

async function asked(
  db: Queryable,
  request: StackRequest,
  type: string,
  message: string,
  patch: StackPatch,
): Promise<StackRow> {
  return await inTransaction(db, async (trx) => {
    const stack = await lockStack(trx, request.stackId, request.tenant);
    await patchStack(trx, stack.id, patch);
    await recordEvent(trx, { tenant: stack.tenant, stackId: stack.id, type, message, actor: request.by });
    return await lockStack(trx, stack.id);
  });
}

/**
 * A person asks for a look now. Unless a run is unfinished, what the last run attempted is forgotten, so that a plan that was
 * discarded, expired or given up is made again.
 */
export async function requestReconcile(db: Queryable, request: StackRequest & { reason?: string }): Promise<StackRow> {
  const idle = sql`not exists (select from runs where runs.stack_id = stacks.id and operation <> 'drift' and state = any(${UNFINISHED}))`;
  return await asked(db, request, 'ReconcileRequested', request.reason ?? 'a look at the stack was asked for', {
    ...ASK,
    attempted_key: sql`case when ${idle} then null else attempted_key end`,
    failures: sql`case when ${idle} then 0 else failures end`,
  });
}

/**
 * A push to a repository: asks for a look at each stack of the tenant that follows it and returns their ids. A request that
 * nobody has looked at yet is not counted again, so a burst writes almost nothing.
 */
export async function requestReconcileByRepository(
  db: Queryable,
  push: { tenant: string; repository: string; by: string },
): Promise<string[]> {
  return await inTransaction(db, async (trx) => {
    const followers = () =>
      trx.selectFrom('stacks').select('id').where('tenant', '=', push.tenant).where('repository', '=', push.repository);
    const fresh = await followers().whereRef('requested_seq', '=', 'handled_seq').orderBy('id').forUpdate().execute();
    for (const { id } of fresh) {
      await patchStack(trx, id, ASK);
      const message = `${push.repository} was pushed to`;
      await recordEvent(trx, { tenant: push.tenant, stackId: id, type: 'PushReceived', message, actor: push.by });
    }
    return (await followers().execute()).map((row) => row.id);
  });
}

/** Asks for a drift check now. */
export async function requestDrift(db: Queryable, request: StackRequest): Promise<StackRow> {
  return await asked(db, request, 'DriftCheckRequested', 'a drift check was asked for', {
    drift_requested_seq: sql`drift_requested_seq + 1`,
    next_drift_at: clock(),
  });
}

/** Asks for the repair of what the last drift check reported. */
export async function requestHeal(db: Queryable, request: StackRequest): Promise<StackRow> {
  return await asked(db, request, 'HealRequested', 'a heal of the reported drift was asked for', {
    ...ASK,
    heal_requested_by: request.by,
  });
}

/** A person's decision about an operation an interrupted run left. @throws Conflict when no such operation waits. */
export async function answerPending(
  db: Queryable,
  at: { tenant: string; stackId: string; answer: PendingAnswer },
): Promise<StackRow> {
  const { answer } = at;
  return await inTransaction(db, async (trx) => {
    const stack = await lockStack(trx, at.stackId, at.tenant);
    const waits = (stack.pending_operations ?? []).some((operation) => operation.urn === answer.urn);
    if (!waits) throw new Conflict(`no operation on ${answer.urn} waits for an answer; see \`plumb pending\``);
    const others = (stack.pending_answers ?? []).filter((other) => other.urn !== answer.urn);
    const patch = { ...ASK, pending_answers: JSON.stringify([...others, answer]) };
    const message =
      answer.answer === 'import' ? `${answer.urn} is to be imported as ${answer.id}` : `${answer.urn} is to be cleared`;
    return await asked(trx, { ...at, by: answer.by }, 'PendingAnswerGiven', message, patch);
  });
}

/**
 * A person's word that the worker whose lease ended without a proof of its death is dead; used up by the next take-over.
 * @throws Conflict when there is nothing to confirm.
 */
export async function confirmUnlock(db: Queryable, request: StackRequest): Promise<StackRow> {
  return await inTransaction(db, async (trx) => {
    const leases = await trx
      .selectFrom('leases')
      .select(['worker_id', sql<boolean>`expires_at > clock_timestamp()`.as('alive')])
      .where('stack_id', '=', request.stackId)
      .where('tenant', '=', request.tenant)
      .where('worker_id', '<>', '')
      .forShare()
      .execute();
    const dead = leases.filter((lease) => !lease.alive);
    if (dead.length === 0) {
      const holder = leases[0]?.worker_id;
      throw new Conflict(
        holder === undefined ? 'no worker holds the stack' : `worker ${holder} still renews its lease: it is not dead`,
      );
    }
    const names = dead.map((lease) => lease.worker_id).join(', ');
    return await asked(trx, request, 'UnlockConfirmed', `worker ${names} was declared dead`, {
      ...ASK,
      unlock_confirmed_by: request.by,
    });
  });
}
