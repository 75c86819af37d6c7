import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { approve, discard, listApprovals } from '#core/store/approvals.ts';
import { Conflict } from '#core/store/conflict.ts';
import { newestEvents } from '#core/store/events.ts';
import { getRunById, moveRun } from '#core/store/runs.ts';
import { getStackById, patchStack, type StackRow } from '#core/store/stacks.ts';
import { createTestDatabase, type TestDatabase } from '../harness/database.ts';
import { addStack, addTenant, addWaitingRun, PLAN_DIGEST, SPEC } from '../harness/store-rows.ts';

let test: TestDatabase;
let stack: StackRow;
let made = 0;

beforeAll(async () => {
  test = await createTestDatabase();
  await addTenant(test.db);
  await addTenant(test.db, 'bank');
});
afterAll(async () => await test.close());
beforeEach(async () => (stack = await addStack(test.db, { name: `approval-${(made += 1)}` })));

function decision(runId: string, actor = 'shop/alice', planDigest = PLAN_DIGEST) {
  return { tenant: 'shop', runId, planDigest, actor, comment: 'looks right' };
}

describe('approving', () => {
  it('moves run, stack and events together and asks for a look', async () => {
    const run = await addWaitingRun(test.db, stack);
    const approved = await approve(test.db, decision(run.id));
    expect(approved).toMatchObject({ state: 'approved', message: 'approved by shop/alice (1 of 1)' });
    const after = await getStackById(test.db, stack.id);
    expect(after?.requested_seq).toBe(stack.requested_seq + 1);
    const reconciling = after?.conditions.find((condition) => condition.type === 'Reconciling');
    expect(reconciling?.message).toContain('shop/alice');
    const [event] = await newestEvents(test.db, { tenant: 'shop', stackId: stack.id, limit: 1 });
    expect(event).toMatchObject({
      type: 'PlanApproved',
      actor: 'shop/alice',
      run: run.number,
      data: { planDigest: PLAN_DIGEST },
    });
    expect(await listApprovals(test.db, run.id)).toMatchObject([
      { actor: 'shop/alice', decision: 'approved', plan_digest: PLAN_DIGEST },
    ]);
  });

  it('of another plan is refused with both digests, and changes nothing', async () => {
    const run = await addWaitingRun(test.db, stack);
    const other = `sha256:${'c'.repeat(64)}`;
    const attempt = approve(test.db, decision(run.id, 'shop/alice', other));
    await expect(attempt).rejects.toThrow(Conflict);
    await expect(attempt).rejects.toThrow(`waits for approval of ${PLAN_DIGEST}, not of ${other}`);
    expect((await getRunById(test.db, run.id))?.state).toBe('awaiting_approval');
    expect(await listApprovals(test.db, run.id)).toEqual([]);
  });

  it('that is late is refused', async () => {
    const run = await addWaitingRun(test.db, stack);
    await test.db
      .updateTable('runs')
      .set({ expires_at: sql`clock_timestamp() - interval '1 second'` })
      .where('id', '=', run.id)
      .execute();
    await expect(approve(test.db, decision(run.id))).rejects.toThrow('expired at');
  });

  it('takes as many different people as the policy says', async () => {
    const run = await addWaitingRun(test.db, stack, 2);
    expect((await approve(test.db, decision(run.id, 'shop/alice'))).state).toBe('awaiting_approval');
    await expect(approve(test.db, decision(run.id, 'shop/alice'))).rejects.toThrow('shop/alice approved run 1 already');
    expect((await approve(test.db, decision(run.id, 'shop/bob'))).state).toBe('approved');
    await expect(approve(test.db, decision(run.id, 'shop/carol'))).rejects.toThrow('is approved: it does not wait');
  });

  it('by twenty people at once approves once', async () => {
    const run = await addWaitingRun(test.db, stack);
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => approve(test.db, decision(run.id, `shop/p${i}`))),
    );
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    expect(await listApprovals(test.db, run.id)).toHaveLength(1);
  });

  it.each([
    [undefined, 'shop/owner', true],
    [true, 'shop/owner', true],
    [false, 'shop/owner', false],
    [false, 'shop/alice', true],
  ])('with selfApproval %s by %s is allowed: %s', async (selfApproval, actor, allowed) => {
    const approval = { mode: 'manual' as const, ...(selfApproval !== undefined && { selfApproval }) };
    const own = await addStack(test.db, { name: `self-${(made += 1)}`, spec: { ...SPEC, approval } });
    const run = await addWaitingRun(test.db, own);
    const said = await approve(test.db, decision(run.id, actor)).then(
      (approved) => approved.state,
      (error: unknown) => String(error),
    );
    expect(said).toContain(allowed ? 'approved' : 'may not approve it as well');
  });

  it('is refused to who let the state move, where people may not approve what they asked for', async () => {
    const approval = { mode: 'manual' as const, selfApproval: false };
    const own = await addStack(test.db, { name: `self-${(made += 1)}`, spec: { ...SPEC, approval } });
    await patchStack(test.db, own.id, { rebind_by: 'shop/mover' });
    const run = await addWaitingRun(test.db, own);
    await expect(approve(test.db, decision(run.id, 'shop/mover'))).rejects.toThrow('may not approve it as well');
    expect((await approve(test.db, decision(run.id, 'shop/alice'))).state).toBe('approved');
  });

  it('of a run of another tenant finds nothing', async () => {
    const run = await addWaitingRun(test.db, stack);
    await expect(approve(test.db, { ...decision(run.id), tenant: 'bank' })).rejects.toThrow('does not exist');
  });
});

describe('discarding', () => {
  it('ends the run, stalls the stack with the reason and keeps who did it', async () => {
    const run = await addWaitingRun(test.db, stack);
    const discarded = await discard(test.db, decision(run.id));
    expect(discarded).toMatchObject({ state: 'discarded', reason: 'PlanDiscarded' });
    expect(discarded.finished_at).toBeInstanceOf(Date);
    const after = await getStackById(test.db, stack.id);
    expect(after?.conditions).toContainEqual(expect.objectContaining({ type: 'Stalled', reason: 'PlanDiscarded' }));
    expect(await listApprovals(test.db, run.id)).toMatchObject([{ decision: 'discarded', comment: 'looks right' }]);
    await expect(approve(test.db, decision(run.id, 'shop/bob'))).rejects.toThrow('is discarded: it does not wait');
  });

  it('loses against a run that was superseded a moment before', async () => {
    const run = await addWaitingRun(test.db, stack);
    await test.db
      .transaction()
      .execute((trx) => moveRun(trx, { runId: run.id, from: 'awaiting_approval', to: 'superseded' }));
    await expect(discard(test.db, decision(run.id))).rejects.toThrow('is superseded');
  });
});
