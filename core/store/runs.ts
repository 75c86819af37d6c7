import { sql, type Selectable, type Transaction, type UpdateObject } from 'kysely';
import type { StackSpec } from '../domain/manifest.ts';
import { canMove, isFinished, RUN_STATES, type Operation, type RunState, type Trigger } from '../domain/run.ts';
import { clock } from './clock.ts';
import { Conflict, isUniqueViolation } from './conflict.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import type { RunsTable, Schema } from './schema.ts';
import { bumpRequest } from './requests.ts';

export type RunRow = Selectable<RunsTable>;
/** Columns a move may set beside the state. */
export type RunPatch = UpdateObject<Schema, 'runs', 'runs'>;

const UNFINISHED = RUN_STATES.filter((state) => !isFinished(state));
/** Operations towards what the source and the spec ask for. */
const DESIRED = ['update', 'rollback'] as const satisfies readonly Operation[];
/** Operations that write the state; `drift` only looks. */
const WRITING = ['update', 'rollback', 'destroy', 'exec'] as const satisfies readonly Operation[];

export interface NewRun {
  tenant: string;
  stackId: string;
  operation: Operation;
  trigger: Trigger;
  revision: string;
  digest: string;
  generation: number;
  spec: StackSpec;
  targets: readonly string[];
  requestedBy: string;
}

/** Makes a pending run with the stack's next number. @throws Conflict when a run of its kind is unfinished. */
export async function createRun(trx: Transaction<Schema>, run: NewRun): Promise<RunRow> {
  await trx.selectFrom('stacks').select('id').where('id', '=', run.stackId).forUpdate().executeTakeFirstOrThrow();
  const { last } = await trx
    .selectFrom('runs')
    .select(sql<number>`coalesce(max(number), 0)`.as('last'))
    .where('stack_id', '=', run.stackId)
    .executeTakeFirstOrThrow();
  try {
    return await trx
      .insertInto('runs')
      .values({
        tenant: run.tenant,
        stack_id: run.stackId,
        number: last + 1,
        operation: run.operation,
        trigger: run.trigger,
        state: 'pending',
        revision: run.revision,
        digest: run.digest,
        generation: run.generation,
        spec: JSON.stringify(run.spec),
        targets: JSON.stringify(run.targets),
        needs: '[]',
        requested_by: run.requestedBy,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw new Conflict('the stack has an unfinished run; wait for it or cancel it');
  }
}

/**
 * Moves a run by compare-and-set. @throws Conflict naming the state it is in when that is none of `from`; Error when the
 * table in core/domain/run.ts does not allow the move (a defect).
 */
export async function moveRun(
  trx: Transaction<Schema>,
  move: { runId: string; from: RunState | readonly RunState[]; to: RunState; patch?: RunPatch },
): Promise<RunRow> {
  const from: readonly RunState[] = typeof move.from === 'string' ? [move.from] : move.from;
  const illegal = from.find((state) => !canMove(state, move.to));
  if (illegal !== undefined) throw new Error(`a run never moves from ${illegal} to ${move.to}`);
  const moved = await trx
    .updateTable('runs')
    .set({ ...move.patch, state: move.to, updated_at: clock(), finished_at: isFinished(move.to) ? clock() : null })
    .where('id', '=', move.runId)
    .where('state', 'in', from)
    .returningAll()
    .executeTakeFirst();
  if (moved !== undefined) return moved;
  const run = await getRunById(trx, move.runId);
  if (run === undefined) throw new Conflict('the run does not exist any more');
  throw new Conflict(`run ${run.number} is ${run.state}, not ${from.join(' or ')}; nothing was changed`);
}

/** Asks for the end of a run: the worker sees it at its next step or renewal. @throws Conflict when it is finished. */
export async function cancelRun(db: Queryable, at: { tenant: string; runId: string; by: string }): Promise<RunRow> {
  return await inTransaction(db, async (trx) => {
    const found = await getRunById(trx, at.runId, at.tenant);
    if (found === undefined) throw new Conflict('the run does not exist any more');
    await bumpRequest(trx, at.tenant, found.stack_id);
    const run = await trx
      .updateTable('runs')
      .set({ cancel_requested_by: at.by, updated_at: clock() })
      .where('id', '=', at.runId)
      .where('state', 'in', UNFINISHED)
      .returningAll()
      .executeTakeFirst();
    if (run === undefined)
      throw new Conflict(`run ${found.number} is ${found.state}: it is finished and cannot be canceled`);
    const message = `cancel of run ${run.number} asked for`;
    await recordEvent(trx, {
      tenant: at.tenant,
      stackId: run.stack_id,
      runId: run.id,
      type: 'CancelRequested',
      message,
      actor: at.by,
    });
    return run;
  });
}

function runsOf(db: Queryable, stackId: string) {
  return db.selectFrom('runs').selectAll().where('stack_id', '=', stackId).orderBy('number', 'desc');
}

export async function getRun(
  db: Queryable,
  tenant: string,
  stackId: string,
  number: number,
): Promise<RunRow | undefined> {
  return await runsOf(db, stackId).where('tenant', '=', tenant).where('number', '=', number).executeTakeFirst();
}

export async function getRunById(db: Queryable, id: string, tenant?: string): Promise<RunRow | undefined> {
  const query = db.selectFrom('runs').selectAll().where('id', '=', id);
  return await (tenant === undefined ? query : query.where('tenant', '=', tenant)).executeTakeFirst();
}

/** The unfinished update or rollback of a stack; the database allows one. */
export async function liveRun(db: Queryable, stackId: string): Promise<RunRow | undefined> {
  return await runsOf(db, stackId)
    .where('operation', 'in', WRITING)
    .where('state', 'in', UNFINISHED)
    .executeTakeFirst();
}

/** The unfinished updates and rollbacks of several stacks, by stack id. */
export async function liveRuns(db: Queryable, stackIds: readonly string[]): Promise<Map<string, RunRow>> {
  if (stackIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('runs')
    .selectAll()
    .where('stack_id', 'in', stackIds)
    .where('operation', 'in', WRITING)
    .where('state', 'in', UNFINISHED)
    .execute();
  return new Map(rows.map((row) => [row.stack_id, row]));
}

/** The unfinished drift check of a stack; the database allows one. */
export async function liveDriftRun(db: Queryable, stackId: string): Promise<RunRow | undefined> {
  return await runsOf(db, stackId).where('operation', '=', 'drift').where('state', 'in', UNFINISHED).executeTakeFirst();
}

/** The newest finished update or rollback, heals among them. */
export async function lastRun(db: Queryable, stackId: string): Promise<RunRow | undefined> {
  return await runsOf(db, stackId)
    .where('operation', 'in', WRITING)
    .where('finished_at', 'is not', null)
    .executeTakeFirst();
}

/** The newest finished run that had a plan to make things by, heals among them. */
export async function lastPlannedRun(db: Queryable, stackId: string): Promise<RunRow | undefined> {
  return await runsOf(db, stackId)
    .where('operation', 'in', DESIRED)
    .where('finished_at', 'is not', null)
    .executeTakeFirst();
}

/** The newest finished run towards the desired state: a heal repairs the applied one and says nothing about it. */
export async function lastDesiredRun(db: Queryable, stackId: string): Promise<RunRow | undefined> {
  return await desiredRuns(db, stackId).executeTakeFirst();
}

/** The finished run towards the desired state before this one. */
export async function previousDesiredRun(
  db: Queryable,
  run: { stack_id: string; number: number },
): Promise<RunRow | undefined> {
  return await desiredRuns(db, run.stack_id).where('number', '<', run.number).executeTakeFirst();
}

function desiredRuns(db: Queryable, stackId: string) {
  return runsOf(db, stackId)
    .where('operation', 'in', DESIRED)
    .where('trigger', '<>', 'heal')
    .where('finished_at', 'is not', null);
}

/**
 * Ids of the newest finished runs of every operation: whose locks may be left in the state backend. An unfinished one is not
 * dead for whoever has lost the lease meanwhile.
 */
export async function finishedRunIds(db: Queryable, stackId: string, limit = 100): Promise<string[]> {
  const rows = await runsOf(db, stackId).where('finished_at', 'is not', null).limit(limit).execute();
  return rows.map((run) => run.id);
}

/** Newest first; `before` is a run number. */
export async function listRuns(
  db: Queryable,
  at: { stackId: string; limit: number; before?: number },
): Promise<RunRow[]> {
  const query = runsOf(db, at.stackId).limit(at.limit);
  return await (at.before === undefined ? query : query.where('number', '<', at.before)).execute();
}
