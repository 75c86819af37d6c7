import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DriftItemView, EventView, pageOf, PendingView, RunView, StackView } from '#core/domain/view.ts';
import { replaceDrift } from '#core/store/drift.ts';
import { getStack } from '#core/store/stacks.ts';
import { Type } from 'typebox';
import { seedWaitingRun } from '../harness/seed.ts';
import { stack, startTestService, tenant, type TestService } from '../harness/service.ts';

let service: TestService;
let operator: string;
let approver: string;
let stackId: string;
const base = '/v1/tenants/shop/stacks/web';

beforeAll(async () => {
  service = await startTestService();
  await service.apply(tenant('shop'), stack('shop', 'web'));
  operator = await service.token('shop', 'operator', 'olga');
  approver = await service.token('shop', 'approver', 'alice');
  stackId = (await getStack(service.db, 'shop', 'web'))?.id ?? '';
});
beforeEach(() => {
  service.rings.length = 0;
});
afterAll(() => service.close());

const newest = async () =>
  (await service.call('GET', '/v1/tenants/shop/events?stack=web&limit=1', operator)).as(pageOf(EventView)).items[0];

describe('a person who asks', () => {
  it.each([
    ['reconcile', 202, 'ReconcileRequested', 'reconcile'],
    ['drift/check', 202, 'DriftCheckRequested', 'drift'],
    ['drift/heal', 202, 'HealRequested', 'reconcile'],
    ['suspend', 200, 'StackSuspended', 'reconcile'],
    ['resume', 200, 'StackResumed', 'reconcile'],
  ])('for %s is answered with %i, rung for and named in the diary', async (word, status, type, queue) => {
    const answer = await service.call('POST', `${base}/${word}`, operator);
    expect(answer.status, answer.text).toBe(status);
    expect(answer.as(StackView).name).toBe('web');
    expect(await newest()).toMatchObject({ type, actor: 'shop/olga', stack: 'web' });
    expect(service.rings).toEqual([{ tenant: 'shop', stackId, queue }]);
  });

  it('to suspend twice makes one new generation', async () => {
    const generations = [];
    for (const word of ['suspend', 'suspend', 'resume', 'resume']) {
      generations.push((await service.call('POST', `${base}/${word}`, operator)).as(StackView).generation);
    }
    const [first = 0] = generations;
    expect(generations).toEqual([first, first, first + 1, first + 1]);
  });

  it('is told why the stack does not run', async () => {
    expect((await service.call('POST', `${base}/suspend`, operator)).as(StackView).why).toMatch(/^suspended/);
    expect((await service.call('POST', `${base}/resume`, operator)).as(StackView).why).toMatch(/^no worker serves/);
    const { run } = await seedWaitingRun(service.db, { tenant: 'shop', stack: 'web' });
    const view = (await service.call('GET', base, operator)).as(StackView);
    expect(view.why).toBe(`run ${run.number} waits for an approval: delete of reader (postgres:Role)`);
    expect(view.liveRun?.number).toBe(run.number);
  });

  it('to cancel a run is named on it; a finished one is not canceled', async () => {
    const view = (await service.call('GET', base, operator)).as(StackView);
    const url = `${base}/runs/${view.liveRun?.number}/cancel`;
    const answer = await service.call('POST', url, operator);
    expect(answer.status).toBe(202);
    expect(answer.as(RunView).cancelRequestedBy).toBe('shop/olga');
    await service.db.updateTable('runs').set({ state: 'canceled', finished_at: new Date() }).execute();
    expect((await service.call('POST', url, operator)).status).toBe(409);
  });
});

describe('recovery', () => {
  const unlock = (body: unknown, bearer = approver) => service.call('POST', `${base}/unlock`, bearer, body);

  it('is refused while nobody holds the stack, without the word, and to an operator', async () => {
    expect((await unlock({ confirmDead: true })).status).toBe(409);
    expect((await unlock({ confirmDead: false })).status).toBe(422);
    expect((await unlock({ confirmDead: true }, operator)).status).toBe(403);
  });

  it('takes a person’s word that a holder whose lease ended is dead', async () => {
    const lease = {
      stack_id: stackId,
      lane: 'run',
      tenant: 'shop',
      worker_id: 'w1',
      fence: 1,
      boot_id: 'b',
      worker_pidns: 'n',
    } as const;
    const past = new Date(Date.now() - 60_000);
    await service.db
      .insertInto('leases')
      .values({ ...lease, acquired_at: past, expires_at: past })
      .execute();
    const answer = await unlock({ confirmDead: true });
    expect(answer.status, answer.text).toBe(202);
    expect(await newest()).toMatchObject({ type: 'UnlockConfirmed', actor: 'shop/alice' });
  });

  it('takes an answer for an operation that waits, and for no other', async () => {
    const url = `${base}/pending`;
    const operations = [{ urn: 'urn:a', type: 't', operation: 'creating' }];
    await service.db
      .updateTable('stacks')
      .set({ pending_operations: JSON.stringify(operations) })
      .execute();
    expect((await service.call('POST', url, approver, { urn: 'urn:b', answer: 'clear' })).status).toBe(409);
    expect((await service.call('POST', url, approver, { urn: 'urn:a', answer: 'import' })).status).toBe(422);
    const answer = await service.call('POST', url, approver, { urn: 'urn:a', answer: 'import', id: 'role-7' });
    expect(answer.status, answer.text).toBe(202);
    expect((await service.call('GET', url, operator)).as(PendingView)).toEqual({
      operations,
      answers: [{ urn: 'urn:a', answer: 'import', id: 'role-7', by: 'shop/alice' }],
    });
  });
});

it('shows drift with the old and the new value and its age', async () => {
  const item = {
    urn: 'urn:a',
    type: 't',
    kind: 'changed' as const,
    path: 'connectionLimit',
    before: 5,
    after: { limit: 9 },
  };
  await service.db.transaction().execute((trx) => replaceDrift(trx, { tenant: 'shop', stackId, items: [item] }));
  const hourAgo = new Date(Date.now() - 3_600_000);
  await service.db.updateTable('drift_items').set({ first_seen_at: hourAgo }).execute();
  const { items } = (await service.call('GET', `${base}/drift`, operator)).as(
    Type.Object({ items: Type.Array(DriftItemView) }),
  );
  expect(items).toMatchObject([{ path: 'connectionLimit', before: 5, after: { limit: 9 }, kind: 'changed' }]);
  expect(items[0]?.ageSeconds).toBeGreaterThanOrEqual(3600);
});
