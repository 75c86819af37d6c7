import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { dueStacks } from '#core/store/due.ts';
import { listEvents } from '#core/store/events.ts';
import {
  acquireLease,
  assertLease,
  recordNamespace,
  releaseLease,
  renewLease,
  type LeaseRequest,
} from '#core/store/leases.ts';
import { confirmUnlock } from '#core/store/requests.ts';
import { getStackById, type StackRow } from '#core/store/stacks.ts';
import { createTestDatabase, type TestDatabase } from '../harness/database.ts';
import { addRun, addStack, addTenant } from '../harness/store-rows.ts';

let test: TestDatabase;
let stack: StackRow;
let runId: string;
let made = 0;

beforeAll(async () => {
  test = await createTestDatabase();
  await addTenant(test.db);
});
afterAll(async () => await test.close());
beforeEach(async () => {
  stack = await addStack(test.db, { name: `lease-${(made += 1)}` });
  runId = (await addRun(test.db, stack)).id;
});

const noProof = () => false;

function request(workerId: string, more: Partial<LeaseRequest> = {}): LeaseRequest {
  const who = { tenant: 'shop', workerId, bootId: 'boot-1', workerPidns: '4026531836' };
  return { stackId: stack.id, lane: 'run', ttlMs: 30_000, proveDead: noProof, ...who, ...more };
}

async function acquired(workerId: string, more: Partial<LeaseRequest> = {}) {
  const result = await acquireLease(test.db, request(workerId, more));
  if (result.outcome !== 'acquired') throw new Error(`not acquired: ${result.outcome}`);
  return result;
}

function key(fence: number) {
  return { stackId: stack.id, lane: 'run' as const, fence };
}

/** What a worker that dies leaves behind. */
async function expire(runPidns: string | null): Promise<void> {
  await test.db
    .updateTable('leases')
    .set({ expires_at: sql`clock_timestamp() - interval '1 second'`, run_pidns: runPidns })
    .where('stack_id', '=', stack.id)
    .execute();
}

async function assertHeld(fence: number): Promise<void> {
  await test.db.transaction().execute((trx) => assertLease(trx, key(fence)));
}

describe('a lease', () => {
  it('has one holder, and says until when', async () => {
    await acquired('w1');
    const second = await acquireLease(test.db, request('w2'));
    const lastsMs = second.outcome === 'held' ? second.until.getTime() - Date.now() : 0;
    expect(lastsMs).toBeGreaterThan(0);
  });

  it('goes to exactly one of twenty workers that ask at the same moment', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, (_, i) => acquireLease(test.db, request(`w${i}`))));
    expect(results.filter((result) => result.outcome === 'acquired')).toHaveLength(1);
  });

  it('of the drift lane does not stand in the way of a run', async () => {
    await acquired('w1', { lane: 'drift' });
    await expect(acquired('w2')).resolves.toMatchObject({ fence: 1 });
  });

  it('keeps its fence growing over releases', async () => {
    const first = await acquired('w1');
    await releaseLease(test.db, key(first.fence));
    const second = await acquired('w1');
    expect([first.fence, second.fence]).toEqual([1, 2]);
    expect(second.previous).toBeUndefined();
  });

  it('is prolonged by its holder and by nobody else', async () => {
    const { fence } = await acquired('w1', { ttlMs: 2000 });
    expect(await renewLease(test.db, { ...key(fence), ttlMs: 30_000 })).toBeGreaterThan(29_000);
    await expect(renewLease(test.db, { ...key(fence + 1), ttlMs: 30_000 })).rejects.toMatchObject({
      reason: 'LeaseLost',
    });
  });

  it('is lost when it ended, even if nobody else took it', async () => {
    const { fence } = await acquired('w1');
    await expire(null);
    await expect(renewLease(test.db, { ...key(fence), ttlMs: 30_000 })).rejects.toMatchObject({
      kind: 'transient',
      reason: 'LeaseLost',
    });
    await expect(assertHeld(fence)).rejects.toMatchObject({ reason: 'LeaseLost' });
    await expect(recordNamespace(test.db, { ...key(fence), pidNamespace: '1', runId })).rejects.toMatchObject({
      reason: 'LeaseLost',
    });
  });

  it('lets a former holder write nothing after a take-over', async () => {
    const first = await acquired('w1');
    await expire(null);
    const second = await acquired('w2');
    await expect(assertHeld(first.fence)).rejects.toMatchObject({ reason: 'LeaseLost' });
    await releaseLease(test.db, key(first.fence));
    await expect(assertHeld(second.fence)).resolves.toBeUndefined();
  });

  it('is not taken over while a status transaction of its holder is open', async () => {
    const { fence } = await acquired('w1');
    const order: string[] = [];
    let taking: Promise<unknown> = Promise.resolve();
    await test.db.transaction().execute(async (trx) => {
      await assertLease(trx, key(fence));
      taking = acquireLease(test.db, request('w2')).then(() => order.push('asked'));
      await sql`select pg_sleep(0.3)`.execute(trx);
      order.push('written');
    });
    await taking;
    expect(order).toEqual(['written', 'asked']);
  });

  it('makes its stack due again when its holder died with it', async () => {
    await test.db
      .updateTable('stacks')
      .set({ handled_seq: sql`requested_seq`, next_reconcile_at: null })
      .where('id', '=', stack.id)
      .execute();
    await acquired('w1');
    expect(await dueStacks(test.db, { tenant: 'shop', limit: 1000 })).not.toContain(stack.id);
    await expire('17');
    expect(await dueStacks(test.db, { tenant: 'shop', limit: 1000 })).toContain(stack.id);
  });
});

describe('taking over from a worker that is gone', () => {
  it('needs no proof when no process of a run is on record', async () => {
    await acquired('w1');
    await expire(null);
    const proof = vi.fn<LeaseRequest['proveDead']>(noProof);
    expect(await acquired('w2', { proveDead: proof })).toMatchObject({ fence: 2, previous: { worker_id: 'w1' } });
    expect(proof).not.toHaveBeenCalled();
  });

  it('is refused without proof of death, whoever asks', async () => {
    const { fence } = await acquired('w1');
    await recordNamespace(test.db, { ...key(fence), pidNamespace: '4026532000', runId });
    await expire('4026532000');
    for (const worker of ['w1', 'w2']) {
      expect(await acquireLease(test.db, request(worker))).toMatchObject({
        outcome: 'holder-unknown',
        previous: { worker_id: 'w1', run_pidns: '4026532000', run_id: runId },
      });
    }
  });

  it('is granted by proof, which sees what the dead one left', async () => {
    await acquired('w1');
    await expire('4026532000');
    const proof = vi.fn<LeaseRequest['proveDead']>(() => true);
    expect(await acquired('w2', { proveDead: proof })).toMatchObject({ fence: 2 });
    expect(proof).toHaveBeenCalledWith(
      expect.objectContaining({ boot_id: 'boot-1', worker_pidns: '4026531836', run_pidns: '4026532000' }),
    );
  });

  it('needs a proof after a release that left processes behind', async () => {
    const { fence } = await acquired('w1');
    await recordNamespace(test.db, { ...key(fence), pidNamespace: '17', runId });
    await releaseLease(test.db, key(fence));
    expect(await acquireLease(test.db, request('w2'))).toMatchObject({ outcome: 'holder-unknown' });
  });

  it('needs none once the holder itself saw its processes end, however late', async () => {
    const { fence } = await acquired('w1');
    await expire('17');
    await recordNamespace(test.db, { ...key(fence), pidNamespace: null, runId });
    expect(await acquired('w2')).toMatchObject({ fence: 2 });
  });
});

describe('a person declares a worker dead', () => {
  const confirm = () => confirmUnlock(test.db, { tenant: 'shop', stackId: stack.id, by: 'shop/alice' });

  it('and the lease is taken over once, with an event that names the person', async () => {
    await acquired('w1');
    await expire('17');
    await confirm();
    expect(await acquired('w2')).toMatchObject({ fence: 2 });
    expect((await getStackById(test.db, stack.id))?.unlock_confirmed_by).toBeNull();
    await expect
      .poll(async () =>
        (await listEvents(test.db, { tenant: 'shop', stackId: stack.id, limit: 50 })).map(
          (event) => `${event.type} ${event.actor}`,
        ),
      )
      .toEqual(expect.arrayContaining(['UnlockConfirmed shop/alice', 'UnlockUsed shop/alice']));
  });

  it('for both lanes at once', async () => {
    await acquired('w1');
    await acquired('w1', { lane: 'drift' });
    await expire('17');
    await confirm();
    await acquired('w2', { lane: 'drift' });
    expect(await acquired('w2')).toMatchObject({ fence: 2 });
  });

  it('but never for a later death', async () => {
    await acquired('w1');
    await expire('17');
    await confirm();
    await acquired('w2');
    await expire('18');
    expect(await acquireLease(test.db, request('w3'))).toMatchObject({ outcome: 'holder-unknown' });
  });

  it('but not one that still renews its lease, nor where nobody holds one', async () => {
    await expect(confirm()).rejects.toThrow('no worker holds the stack');
    await acquired('w1');
    await expect(confirm()).rejects.toThrow('worker w1 still renews its lease');
  });
});
