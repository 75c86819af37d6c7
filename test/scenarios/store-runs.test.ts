import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { canMove, isFinished, RUN_STATES, type RunState } from '#core/domain/run.ts';
import { Conflict } from '#core/store/conflict.ts';
import {
  finishedRunIds,
  lastPlannedRun,
  cancelRun,
  getRun,
  getRunById,
  lastDesiredRun,
  lastRun,
  listRuns,
  liveDriftRun,
  liveRun,
  liveRuns,
  moveRun,
  previousDesiredRun,
} from '#core/store/runs.ts';
import { getStackById, type StackRow } from '#core/store/stacks.ts';
import { createTestDatabase, type TestDatabase } from '../harness/database.ts';
import { addRun, addStack, addTenant, walkRun } from '../harness/store-rows.ts';

let test: TestDatabase;
let stack: StackRow;
let made = 0;

beforeAll(async () => {
  test = await createTestDatabase();
  await addTenant(test.db);
});
afterAll(async () => await test.close());
beforeEach(async () => (stack = await addStack(test.db, { name: `run-${(made += 1)}` })));

function move(runId: string, from: RunState | RunState[], to: RunState) {
  return test.db.transaction().execute((trx) => moveRun(trx, { runId, from, to }));
}

async function cancelNow(runId: string) {
  return await move(runId, 'pending', 'canceled');
}

/** Puts a run into a state directly, past every rule. */
async function force(runId: string, state: RunState): Promise<void> {
  const finished_at = isFinished(state) ? new Date() : null;
  await test.db.updateTable('runs').set({ state, finished_at }).where('id', '=', runId).execute();
}

describe('runs of a stack', () => {
  it('are numbered 1, 2, 3 for each stack by itself', async () => {
    const other = await addStack(test.db, { name: `run-${made}-b` });
    const first = await addRun(test.db, stack);
    await cancelNow(first.id);
    const second = await addRun(test.db, stack);
    const elsewhere = await addRun(test.db, other);
    expect([first.number, second.number, elsewhere.number]).toEqual([1, 2, 1]);
  });

  it('are one at a time, apart from one drift check', async () => {
    await addRun(test.db, stack);
    await addRun(test.db, stack, { operation: 'drift', trigger: 'schedule' });
    await expect(addRun(test.db, stack)).rejects.toThrow(Conflict);
    await expect(addRun(test.db, stack, { operation: 'rollback', trigger: 'backward' })).rejects.toThrow(
      'unfinished run',
    );
    await expect(addRun(test.db, stack, { operation: 'drift' })).rejects.toThrow('unfinished run');
    expect(await liveRun(test.db, stack.id)).toMatchObject({ operation: 'update' });
    expect(await liveDriftRun(test.db, stack.id)).toMatchObject({ operation: 'drift' });
  });

  it('are one even when twenty workers make one at the same moment', async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => addRun(test.db, stack)));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });

  it('belong to their tenant', async () => {
    const run = await addRun(test.db, stack);
    expect(await getRun(test.db, 'shop', stack.id, 1)).toMatchObject({ id: run.id });
    expect(await getRun(test.db, 'bank', stack.id, 1)).toBeUndefined();
    expect(await getRunById(test.db, run.id, 'bank')).toBeUndefined();
  });

  it('page backwards by number', async () => {
    for (let i = 0; i < 4; i += 1) await cancelNow((await addRun(test.db, stack)).id);
    const numbers = async (before?: number) =>
      (await listRuns(test.db, { stackId: stack.id, limit: 2, ...(before && { before }) })).map((run) => run.number);
    expect(await numbers()).toEqual([4, 3]);
    expect(await numbers(3)).toEqual([2, 1]);
  });

  it('of several stacks are found in one question', async () => {
    const other = await addStack(test.db, { name: `run-${made}-b` });
    const run = await addRun(test.db, stack);
    const live = await liveRuns(test.db, [stack.id, other.id]);
    expect([...live.keys()]).toEqual([stack.id]);
    expect(live.get(stack.id)?.id).toBe(run.id);
    expect(await liveRuns(test.db, [])).toEqual(new Map());
  });
});

describe('a move', () => {
  it('is made by compare-and-set for every pair the table allows, and refused for every other', async () => {
    const run = await addRun(test.db, stack);
    const pairs = RUN_STATES.flatMap((from) => RUN_STATES.map((to) => ({ from, to })));
    for (const { from, to } of pairs) {
      await force(run.id, from);
      const said = await move(run.id, from, to).then(
        (moved) => `${moved.state}, finished: ${moved.finished_at !== null}`,
        (error: unknown) => String(error),
      );
      const refusal = `Error: a run never moves from ${from} to ${to}`;
      expect(said).toBe(canMove(from, to) ? `${to}, finished: ${isFinished(to)}` : refusal);
    }
  });

  it('from a state the run has left names the state it is in', async () => {
    const run = await walkRun(test.db, await addRun(test.db, stack), 'applying');
    const attempt = move(run.id, ['awaiting_approval', 'approved'], 'superseded');
    await expect(attempt).rejects.toThrow(Conflict);
    await expect(attempt).rejects.toThrow('run 1 is applying, not awaiting_approval or approved');
    expect((await getRunById(test.db, run.id))?.state).toBe('applying');
  });

  it('made by two at once happens once', async () => {
    const run = await walkRun(test.db, await addRun(test.db, stack), 'awaiting_approval');
    const results = await Promise.allSettled([
      move(run.id, 'awaiting_approval', 'approved'),
      move(run.id, 'awaiting_approval', 'discarded'),
      move(run.id, 'awaiting_approval', 'superseded'),
    ]);
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });
});

describe('canceling', () => {
  it('notes who asked and asks for a look', async () => {
    const run = await addRun(test.db, stack);
    expect(await cancelRun(test.db, { tenant: 'shop', runId: run.id, by: 'shop/bob' })).toMatchObject({
      state: 'pending',
      cancel_requested_by: 'shop/bob',
    });
    expect((await getStackById(test.db, stack.id))?.requested_seq).toBe(stack.requested_seq + 1);
  });

  it('of a finished run or another tenant is refused and changes nothing', async () => {
    const run = await addRun(test.db, stack);
    await expect(cancelRun(test.db, { tenant: 'bank', runId: run.id, by: 'x' })).rejects.toThrow(Conflict);
    await cancelNow(run.id);
    await expect(cancelRun(test.db, { tenant: 'shop', runId: run.id, by: 'x' })).rejects.toThrow(
      'run 1 is canceled: it is finished',
    );
    expect((await getStackById(test.db, stack.id))?.requested_seq).toBe(stack.requested_seq);
  });
});

describe('the last run', () => {
  it('towards the desired state is neither a heal nor a drift check', async () => {
    const first = await walkRun(test.db, await addRun(test.db, stack), 'applied');
    const second = await walkRun(test.db, await addRun(test.db, stack), 'applied');
    const heal = await walkRun(test.db, await addRun(test.db, stack, { trigger: 'heal' }), 'applied');
    const drift = await addRun(test.db, stack, { operation: 'drift', trigger: 'schedule' });
    expect((await lastRun(test.db, stack.id))?.id).toBe(heal.id);
    expect((await lastDesiredRun(test.db, stack.id))?.id).toBe(second.id);
    expect((await previousDesiredRun(test.db, second))?.id).toBe(first.id);
    expect((await lastPlannedRun(test.db, stack.id))?.id).toBe(heal.id);
    // The check is under way, so whatever lock it may hold is not one of the dead.
    expect(drift.finished_at).toBeNull();
    expect(await finishedRunIds(test.db, stack.id)).toEqual([heal.id, second.id, first.id]);
  });

  it('that had a plan is not the command by hand that came after it', async () => {
    const planned = await walkRun(test.db, await addRun(test.db, stack), 'applied');
    const byHand = await walkRun(test.db, await addRun(test.db, stack, { operation: 'exec' }), 'applied');
    expect((await lastRun(test.db, stack.id))?.id).toBe(byHand.id);
    expect((await lastPlannedRun(test.db, stack.id))?.id).toBe(planned.id);
  });

  it('is none while the only one is under way', async () => {
    await addRun(test.db, stack);
    expect(await lastRun(test.db, stack.id)).toBeUndefined();
  });
});
