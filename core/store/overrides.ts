import { parseDuration } from '../domain/duration.ts';
import { DEFAULTS } from '../domain/manifest.ts';
import type { BoundDocument } from '../domain/plan.ts';
import { outcomeOf, speaksForStack, summarize } from '../domain/summarize.ts';
import { insertDecision, listApprovals, refuseSelf, settle, waitingRun, type PlanDecision } from './approvals.ts';
import { clockPlus, databaseNow } from './clock.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import { getPlan } from './plans.ts';
import { bumpRequest } from './requests.ts';
import { moveRun, type RunRow } from './runs.ts';
import { patchStack } from './stacks.ts';

/**
 * Overrides exactly the violations of the plan with this digest, in one transaction: an approval of its own, with a reason.
 * Only then does the plan wait for its approvals; one that needs none is approved by it. Returns the run.
 * @throws Conflict when it does not wait for an override, has another plan, is late, or this person asked for the change and
 * may not decide on it
 */
export async function override(db: Queryable, decision: PlanDecision): Promise<RunRow> {
  return await inTransaction(db, async (trx) => {
    const waiting = await waitingRun(trx, decision, ['policy_failed']);
    const { stack, run } = waiting;
    refuseSelf(waiting, decision.actor);
    const overridden = (await getPlan(trx, run.id))?.bound.policies?.overridden ?? [];
    await insertDecision(trx, decision, 'overridden');
    const message = `policies overridden by ${decision.actor}: ${decision.comment}`;
    await recordEvent(trx, {
      tenant: stack.tenant,
      stackId: stack.id,
      runId: run.id,
      type: 'PolicyOverridden',
      reason: 'PolicyViolated',
      severity: 'warning',
      message: `run ${run.number}: ${message}`,
      actor: decision.actor,
      data: {
        run: run.number,
        digest: run.digest,
        planDigest: decision.planDigest,
        comment: decision.comment,
        overridden,
      },
    });
    const expires = run.spec.approval?.expires ?? DEFAULTS.approvalExpires;
    const next = run.needs.length === 0 ? message : `${message}; waits for approval of ${decision.planDigest}`;
    const patch = { message: next, reason: null, expires_at: clockPlus(parseDuration(expires)) };
    const moved = await moveRun(trx, { runId: run.id, from: 'policy_failed', to: 'awaiting_approval', patch });
    if (run.needs.length === 0) return await settle(trx, { stack, run: moved }, 'approved', message);
    const outcome = outcomeOf('awaiting_approval', `run ${run.number}: ${next}`);
    if (outcome !== undefined && speaksForStack(run, stack)) {
      const at = { generation: stack.generation, now: await databaseNow(trx) };
      await patchStack(trx, stack.id, { conditions: JSON.stringify(summarize(stack.conditions, outcome, at)) });
    }
    await bumpRequest(trx, stack.tenant, stack.id);
    return moved;
  });
}

/** Whether a person overrode what the policies say of this plan, where they say anything that stops it. */
export async function isOverridden(db: Queryable, run: RunRow, bound: BoundDocument): Promise<boolean> {
  if ((bound.policies?.overridden ?? []).length === 0) return true;
  const words = await listApprovals(db, run.id);
  return words.some(({ decision, plan_digest: digest }) => decision === 'overridden' && digest === run.plan_digest);
}
