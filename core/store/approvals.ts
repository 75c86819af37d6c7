import { sql, type Selectable, type Transaction } from 'kysely';
import { outcomeOf, speaksForStack, summarize } from '../domain/summarize.ts';
import { databaseNow } from './clock.ts';
import { Conflict } from './conflict.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import { bumpRequest } from './requests.ts';
import { getRunById, moveRun, type RunRow } from './runs.ts';
import type { ApprovalsTable, Decision, Schema } from './schema.ts';
import { lockStack, patchStack, type StackRow } from './stacks.ts';

export type ApprovalRow = Selectable<ApprovalsTable>;

/** A person's word on exactly one plan. */
export interface PlanDecision {
  tenant: string;
  runId: string;
  planDigest: string;
  actor: string;
  comment: string;
}

/** A run that waits for a person, locked with its stack. */
export interface Waiting {
  stack: StackRow;
  run: RunRow;
}

/** What a run waits for when it is in one of these states. */
const WAITS = { awaiting_approval: 'a decision', policy_failed: 'an override' } as const;

/** A state in which a plan waits for a person. */
export type WaitingState = keyof typeof WAITS;

/** Locks stack and run and checks that this plan waits for a decision. @throws Conflict */
export async function waitingRun(
  trx: Transaction<Schema>,
  decision: PlanDecision,
  states: readonly WaitingState[],
): Promise<Waiting> {
  const found = await getRunById(trx, decision.runId, decision.tenant);
  if (found === undefined) throw new Conflict('the run does not exist any more');
  const stack = await lockStack(trx, found.stack_id, decision.tenant);
  const run = await trx
    .selectFrom('runs')
    .selectAll()
    .select(sql<boolean>`expires_at is not null and expires_at <= clock_timestamp()`.as('late'))
    .where('id', '=', decision.runId)
    .forUpdate()
    .executeTakeFirstOrThrow();
  if (!states.some((state) => state === run.state)) {
    const [state = 'awaiting_approval'] = states;
    const hint = run.state === 'policy_failed' ? '; policies are violated, which somebody must override first' : '';
    throw new Conflict(`run ${run.number} is ${run.state}: it does not wait for ${WAITS[state]}${hint}`);
  }
  if (run.plan_digest !== decision.planDigest) {
    throw new Conflict(
      `run ${run.number} waits for approval of ${run.plan_digest}, not of ${decision.planDigest}; look at the plan it has now`,
    );
  }
  if (run.late) {
    throw new Conflict(
      `the plan of run ${run.number} expired at ${run.expires_at?.toISOString()}; \`plumb reconcile\` plans again`,
    );
  }
  return { stack, run };
}

/** Writes a person's word down. */
export async function insertDecision(trx: Transaction<Schema>, decision: PlanDecision, word: Decision): Promise<void> {
  await trx
    .insertInto('approvals')
    .values({
      tenant: decision.tenant,
      run_id: decision.runId,
      plan_digest: decision.planDigest,
      decision: word,
      actor: decision.actor,
      comment: decision.comment,
    })
    .execute();
}

/** Moves a waiting run on a person's word, says so on the stack and asks for a look at it. */
export async function settle(
  trx: Transaction<Schema>,
  { stack, run }: Waiting,
  to: 'approved' | 'discarded',
  message: string,
) {
  const moved = await moveRun(trx, {
    runId: run.id,
    from: run.state,
    to,
    patch: { message, ...(to === 'discarded' && { reason: 'PlanDiscarded' as const }) },
  });
  const outcome = outcomeOf(to, `run ${run.number}: ${message}`);
  if (outcome !== undefined && speaksForStack(run, stack)) {
    const at = { generation: stack.generation, now: await databaseNow(trx) };
    await patchStack(trx, stack.id, { conditions: JSON.stringify(summarize(stack.conditions, outcome, at)) });
  }
  await bumpRequest(trx, stack.tenant, stack.id);
  return moved;
}

/** @throws Conflict where the stack forbids people to approve what they asked for, and this is one */
export function refuseSelf({ stack, run }: Waiting, actor: string): void {
  if (run.spec.approval?.selfApproval !== false) return;
  // Who let the state move asked for that part of the plan.
  if (![stack.spec_by, stack.rebind_by, run.requested_by].includes(actor)) return;
  throw new Conflict(`${actor} asked for this change and may not approve it as well (approval.selfApproval: false)`);
}

/**
 * Approves exactly the plan with this digest, in one transaction; with the last approval it takes the run is `approved` and a
 * look at the stack is asked for. Returns the run.
 * @throws Conflict when it does not wait, has another plan, is late, or this person approved or asked for it already.
 */
export async function approve(db: Queryable, decision: PlanDecision): Promise<RunRow> {
  return await inTransaction(db, async (trx) => {
    const waiting = await waitingRun(trx, decision, ['awaiting_approval']);
    const { stack, run } = waiting;
    refuseSelf(waiting, decision.actor);
    // An override is a word of its own, and no approval.
    const before = (await listApprovals(trx, run.id)).filter(({ decision: word }) => word === 'approved');
    if (before.some((approval) => approval.actor === decision.actor)) {
      throw new Conflict(
        `${decision.actor} approved run ${run.number} already; ${run.approvals_required} different people must`,
      );
    }
    await insertDecision(trx, decision, 'approved');
    const count = before.length + 1;
    const message = `approved by ${decision.actor} (${count} of ${run.approvals_required})`;
    await recordEvent(trx, {
      tenant: stack.tenant,
      stackId: stack.id,
      runId: run.id,
      type: 'PlanApproved',
      message: `run ${run.number}: ${message}`,
      actor: decision.actor,
      data: { run: run.number, digest: run.digest, planDigest: decision.planDigest, comment: decision.comment },
    });
    return count < run.approvals_required ? run : await settle(trx, waiting, 'approved', message);
  });
}

/** Discards exactly the plan with this digest: the run ends, and the revision is not planned again by itself. @throws Conflict */
export async function discard(db: Queryable, decision: PlanDecision): Promise<RunRow> {
  return await inTransaction(db, async (trx) => {
    const waiting = await waitingRun(trx, decision, ['awaiting_approval', 'policy_failed']);
    const { stack, run } = waiting;
    await insertDecision(trx, decision, 'discarded');
    const message = `discarded by ${decision.actor}${decision.comment === '' ? '' : `: ${decision.comment}`}`;
    await recordEvent(trx, {
      tenant: stack.tenant,
      stackId: stack.id,
      runId: run.id,
      type: 'PlanDiscarded',
      reason: 'PlanDiscarded',
      severity: 'warning',
      message: `run ${run.number}: ${message}`,
      actor: decision.actor,
      data: { run: run.number, digest: run.digest, planDigest: decision.planDigest, comment: decision.comment },
    });
    return await settle(trx, waiting, 'discarded', message);
  });
}

/** Decisions on a run, oldest first. */
export async function listApprovals(db: Queryable, runId: string): Promise<ApprovalRow[]> {
  return await db.selectFrom('approvals').selectAll().where('run_id', '=', runId).orderBy('id').execute();
}
