import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  eventCursor,
  EVENT_CURSOR_PATTERN,
  listEvents,
  newestEvents,
  recordEvent,
  type EventRow,
} from '#core/store/events.ts';
import type { Schema } from '#core/store/schema.ts';
import type { Transaction } from 'kysely';
import { createTestDatabase, type TestDatabase } from '../harness/database.ts';
import { addStack, addTenant } from '../harness/store-rows.ts';

let test: TestDatabase;
let made = 0;

beforeAll(async () => (test = await createTestDatabase()));
afterAll(async () => await test.close());

async function newTenant(): Promise<string> {
  const tenant = `tenant-${(made += 1)}`;
  await addTenant(test.db, tenant);
  return tenant;
}

async function tell(trx: Transaction<Schema>, tenant: string, message: string): Promise<void> {
  await recordEvent(trx, { tenant, type: 'Told', message, actor: 'test' });
}

async function open() {
  return await test.db.startTransaction().execute();
}

function messages(events: EventRow[]): string[] {
  return events.map((event) => event.message);
}

/** Transactions of other test files hold readers back as well, for as long as they last. */
async function eventually(tenant: string, count: number): Promise<EventRow[]> {
  await expect.poll(async () => (await listEvents(test.db, { tenant, limit: 1000 })).length).toBe(count);
  return await listEvents(test.db, { tenant, limit: 1000 });
}

describe('events', () => {
  it('are read only up to the oldest open transaction, so that a late commit is never skipped', async () => {
    const tenant = await newTenant();
    const slow = await open();
    await tell(slow, tenant, 'slow');
    const quick = await open();
    await tell(quick, tenant, 'quick');
    await quick.commit().execute();
    expect(await listEvents(test.db, { tenant, limit: 10 })).toEqual([]);
    await slow.commit().execute();
    expect(messages(await eventually(tenant, 2))).toEqual(['slow', 'quick']);
  });

  it('are not skipped when a later transaction got the lower id', async () => {
    const tenant = await newTenant();
    const early = await open();
    // Takes its transaction id now and the id of its event later.
    await sql`select pg_current_xact_id()`.execute(early);
    const late = await open();
    await tell(late, tenant, 'low id, later transaction');
    await tell(early, tenant, 'high id, earlier transaction');
    await early.commit().execute();
    await expect.poll(async () => (await listEvents(test.db, { tenant, limit: 10 })).length).toBe(1);
    const [first] = await listEvents(test.db, { tenant, limit: 10 });
    await late.commit().execute();
    const after = first === undefined ? '' : eventCursor(first);
    await expect
      .poll(async () => messages(await listEvents(test.db, { tenant, after, limit: 10 })))
      .toEqual(['low id, later transaction']);
    expect(messages(await eventually(tenant, 2))).toEqual([
      'high id, earlier transaction',
      'low id, later transaction',
    ]);
  });

  it('reach a reader exactly once while fifty writers commit in any order', async () => {
    const tenant = await newTenant();
    const seen: string[] = [];
    let after: string | undefined;
    let writing = true;
    const read = async () => {
      const page = await listEvents(test.db, { tenant, limit: 7, ...(after !== undefined && { after }) });
      for (const event of page) {
        after = eventCursor(event);
        seen.push(event.message);
      }
      return page.length;
    };
    const reader = (async () => {
      while (writing) await read();
    })();
    const write = (i: number) =>
      test.db.transaction().execute(async (trx) => {
        await tell(trx, tenant, `${i}a`);
        await sql`select pg_sleep(${Math.random() / 20})`.execute(trx);
        await tell(trx, tenant, `${i}b`);
      });
    await Promise.all(Array.from({ length: 50 }, (_, i) => write(i)));
    writing = false;
    await reader;
    await expect.poll(async () => (await read()) + seen.length).toBe(100);
    expect(new Set(seen).size).toBe(100);
  });

  it('that were rolled back never show', async () => {
    const tenant = await newTenant();
    const trx = await open();
    await tell(trx, tenant, 'undone');
    await trx.rollback().execute();
    await test.db.transaction().execute((next) => tell(next, tenant, 'done'));
    expect(messages(await eventually(tenant, 1))).toEqual(['done']);
  });

  it('of another tenant or stack do not show, and names stand for ids', async () => {
    const tenant = await newTenant();
    const other = await newTenant();
    const stack = await addStack(test.db, { tenant, name: 'one' });
    await addStack(test.db, { tenant, name: 'two' });
    await addStack(test.db, { tenant: other, name: 'one' });
    await eventually(tenant, 2);
    const events = await listEvents(test.db, { tenant, stackId: stack.id, limit: 10 });
    expect(events).toMatchObject([{ type: 'StackApplied', stack: 'one', run: null, actor: 'shop/owner' }]);
  });

  it('page backwards for people, the newest first', async () => {
    const tenant = await newTenant();
    for (const word of ['a', 'b', 'c']) await test.db.transaction().execute((trx) => tell(trx, tenant, word));
    const [newest, second] = await newestEvents(test.db, { tenant, limit: 2 });
    expect([newest?.message, second?.message]).toEqual(['c', 'b']);
    const before = second === undefined ? '' : eventCursor(second);
    expect(before).toMatch(EVENT_CURSOR_PATTERN);
    expect(messages(await newestEvents(test.db, { tenant, before, limit: 2 }))).toEqual(['a']);
  });
});
