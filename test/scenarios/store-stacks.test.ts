import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { dueDrift, dueStacks } from '#core/store/due.ts';
import { newestEvents } from '#core/store/events.ts';
import {
  answerPending,
  requestDrift,
  requestHeal,
  requestReconcile,
  requestReconcileByRepository,
} from '#core/store/requests.ts';
import { putSecret, secretVersions } from '#core/store/secrets.ts';
import {
  applyStack,
  getStack,
  getStackById,
  listStacks,
  markStack,
  patchStack,
  setSuspended,
  stackWithIdentity,
  type StackPatch,
  type StackRow,
} from '#core/store/stacks.ts';
import { createTestDatabase, type TestDatabase } from '../harness/database.ts';
import { addRun, addStack, addTenant, addWaitingRun, SPEC, walkRun } from '../harness/store-rows.ts';

let test: TestDatabase;
let tenant: string;
let stack: StackRow;
let made = 0;

beforeAll(async () => (test = await createTestDatabase()));
afterAll(async () => await test.close());
beforeEach(async () => {
  tenant = `tenant-${(made += 1)}`;
  await addTenant(test.db, tenant);
  stack = await addStack(test.db, { tenant });
});

async function fresh(): Promise<StackRow> {
  const row = await getStackById(test.db, stack.id);
  if (row === undefined) throw new Error('the stack is gone');
  return row;
}

async function eventTypes(): Promise<string[]> {
  return (await newestEvents(test.db, { tenant, stackId: stack.id, limit: 100 })).map((event) => event.type);
}

/** Everything asked for is done, and nothing is due. */
async function rest(patch: StackPatch = {}): Promise<void> {
  await patchStack(test.db, stack.id, { handled_seq: sql`requested_seq`, next_reconcile_at: null, ...patch });
}

function apply(more: Partial<Parameters<typeof applyStack>[1]> = {}) {
  const base = {
    tenant,
    name: 'shop-prod',
    labels: {},
    spec: SPEC,
    repository: 'registry.example/infra/shop',
    by: 'shop/bob',
  };
  return applyStack(test.db, { ...base, ...more });
}

describe('applying a stack', () => {
  it('makes it due at once, pending and as generation 1', () => {
    expect(stack).toMatchObject({ generation: 1, requested_seq: 1, handled_seq: 0, spec_by: 'shop/owner' });
    expect(stack.conditions).toMatchObject([
      { type: 'Ready', status: 'Unknown', reason: 'Pending' },
      { type: 'Reconciling' },
    ]);
  });

  it('a second time with the same spec changes nothing, whatever the order of its keys', async () => {
    const spec = { pulumi: SPEC.pulumi, source: { ref: SPEC.source.ref, repository: SPEC.source.repository } };
    const { stack: same, outcome } = await apply({ spec });
    expect(outcome).toBe('unchanged');
    expect(same).toMatchObject({ generation: 1, requested_seq: 1, spec_by: 'shop/owner' });
    expect(await eventTypes()).toEqual(['StackApplied']);
  });

  it('with another spec is a new generation, by whoever applied it', async () => {
    const { stack: next, outcome } = await apply({
      spec: { ...SPEC, pulumi: { stack: 'prod', config: { replicas: 3 } } },
    });
    expect(outcome).toBe('changed');
    expect(next).toMatchObject({ generation: 2, requested_seq: 2, spec_by: 'shop/bob' });
  });

  it('with other labels only asks for no look', async () => {
    const { stack: next, outcome } = await apply({ labels: { env: 'prod' } });
    expect(outcome).toBe('changed');
    expect(next).toMatchObject({ generation: 1, requested_seq: 1, spec_by: 'shop/owner', labels: { env: 'prod' } });
  });

  it('from twenty places at once makes one stack', async () => {
    const results = await Promise.all(Array.from({ length: 20 }, () => apply({ name: 'burst' })));
    expect(results.map((result) => result.outcome).toSorted()).toEqual([
      'created',
      ...Array<string>(19).fill('unchanged'),
    ]);
    expect(new Set(results.map((result) => result.stack.id)).size).toBe(1);
  });

  it('of the same name in another tenant is another stack', async () => {
    await addTenant(test.db, `${tenant}-b`);
    const other = await addStack(test.db, { tenant: `${tenant}-b` });
    expect(other.id).not.toBe(stack.id);
    expect((await getStack(test.db, tenant, 'shop-prod'))?.id).toBe(stack.id);
  });

  it('with a shorter drift interval brings the next check forward', async () => {
    await rest({ next_drift_at: sql`clock_timestamp() + interval '1 hour'` });
    const { stack: next } = await apply({ spec: { ...SPEC, drift: { interval: '1m' } } });
    expect(next.next_drift_at?.getTime()).toBeLessThan(Date.now() + 120_000);
  });

  it('holds characters that jsonb cannot', async () => {
    const config = { odd: 'a\0b', lone: '\ud800', fine: 'C:\\u0000 \u{1f600}' };
    const { stack: next } = await apply({ name: 'odd', spec: { ...SPEC, pulumi: { stack: 'prod', config } } });
    expect(next.spec.pulumi.config).toEqual({ odd: 'a\u{fffd}b', lone: '\u{fffd}', fine: 'C:\\u0000 \u{1f600}' });
  });
});

describe('suspending', () => {
  it('is a new generation once, and so is resuming', async () => {
    const at = { tenant, stackId: stack.id, by: 'shop/bob' };
    expect(await setSuspended(test.db, { ...at, suspended: true })).toBe('changed');
    expect(await setSuspended(test.db, { ...at, suspended: true })).toBe('unchanged');
    expect((await fresh()).spec.suspend).toBe(true);
    expect(await setSuspended(test.db, { ...at, suspended: false })).toBe('changed');
    expect(await fresh()).toMatchObject({ generation: 3, requested_seq: 3, spec_by: 'shop/bob' });
  });
});

describe('asking for a reconcile', () => {
  const ask = () => requestReconcile(test.db, { tenant, stackId: stack.id, by: 'shop/bob' });

  it('forgets the failed attempt, so that it is made again', async () => {
    await rest({ attempted_key: 'key', failures: 6 });
    expect(await ask()).toMatchObject({ requested_seq: 2, attempted_key: null, failures: 0 });
    expect(await eventTypes()).toContain('ReconcileRequested');
  });

  it('keeps the attempt of a run that still waits for its approval', async () => {
    await addWaitingRun(test.db, stack);
    await rest({ attempted_key: 'key' });
    expect(await ask()).toMatchObject({ attempted_key: 'key' });
  });

  it('from a hundred sides at once loses none', async () => {
    await Promise.all(Array.from({ length: 100 }, ask));
    expect((await fresh()).requested_seq).toBe(101);
  });
});

describe('a push to a repository', () => {
  const push = (repository = 'registry.example/infra/shop') =>
    requestReconcileByRepository(test.db, { tenant, repository, by: 'receiver/registry' });

  it('reaches the stacks of the tenant that follow it, and no others', async () => {
    await addTenant(test.db, `${tenant}-b`);
    await addStack(test.db, { tenant: `${tenant}-b` });
    const second = await addStack(test.db, { tenant, name: 'second' });
    expect((await push()).toSorted()).toEqual([stack.id, second.id].toSorted());
    expect(await push('registry.example/infra/other')).toEqual([]);
  });

  it('a thousand times before anybody looks counts once and tells once', async () => {
    await rest({ attempted_key: 'key' });
    for (let batch = 0; batch < 20; batch += 1) await Promise.all(Array.from({ length: 50 }, () => push()));
    expect(await fresh()).toMatchObject({ requested_seq: 2, handled_seq: 1, attempted_key: 'key' });
    expect((await eventTypes()).filter((type) => type === 'PushReceived')).toHaveLength(1);
  });
});

describe('pending operations', () => {
  const urn = 'urn:pulumi:prod::shop::postgres:Role::app';
  const answer = (id: string) =>
    answerPending(test.db, { tenant, stackId: stack.id, answer: { urn, answer: 'import', id, by: 'shop/bob' } });

  it('take one answer each, the last given', async () => {
    await rest({ pending_operations: JSON.stringify([{ urn, type: 'postgres:Role', operation: 'creating' }]) });
    await answer('first');
    expect(await answer('second')).toMatchObject({ pending_answers: [{ urn, id: 'second' }], requested_seq: 3 });
  });

  it('that do not exist take none', async () => {
    await expect(answer('x')).rejects.toThrow(`no operation on ${urn} waits`);
  });
});

describe('stacks that are due', () => {
  const due = () => dueStacks(test.db, { tenant, limit: 100 });

  it.each<[string, StackPatch, boolean]>([
    ['nothing asked and no time set', {}, false],
    ['a time in the past', { next_reconcile_at: sql`clock_timestamp() - interval '1 second'` }, true],
    ['a time in the future', { next_reconcile_at: sql`clock_timestamp() + interval '1 minute'` }, false],
    ['a request newer than the last look', { requested_seq: sql`requested_seq + 1` }, true],
  ])('%s', async (_, patch, expected) => {
    await rest();
    await patchStack(test.db, stack.id, patch);
    expect(await due()).toEqual(expected ? [stack.id] : []);
  });

  it('come with the longest waiting first, and no more than asked for', async () => {
    const second = await addStack(test.db, { tenant, name: 'second' });
    await patchStack(test.db, second.id, { next_reconcile_at: sql`clock_timestamp() - interval '1 hour'` });
    expect(await due()).toEqual([second.id, stack.id]);
    expect(await dueStacks(test.db, { tenant, limit: 1 })).toEqual([second.id]);
  });

  it('of another tenant do not show', async () => {
    expect(await dueStacks(test.db, { tenant: 'nobody', limit: 100 })).toEqual([]);
  });
});

describe('drift checks that are due', () => {
  const due = () => dueDrift(test.db, { tenant, limit: 100 });

  async function applied(patch: StackPatch = {}): Promise<void> {
    const run = await walkRun(test.db, await addRun(test.db, stack), 'applied');
    await rest({ applied_run_id: run.id, ...patch });
  }

  it('are none before the first apply', async () => {
    await rest({ next_drift_at: sql`clock_timestamp() - interval '1 second'` });
    expect(await due()).toEqual([]);
  });

  it('begin with the first apply, go by their own clock and by request', async () => {
    await applied();
    expect(await due()).toEqual([stack.id]);
    await patchStack(test.db, stack.id, { next_drift_at: sql`clock_timestamp() + interval '1 hour'` });
    expect(await due()).toEqual([]);
    await requestDrift(test.db, { tenant, stackId: stack.id, by: 'shop/bob' });
    expect(await due()).toEqual([stack.id]);
  });

  it('are none while the stack is suspended', async () => {
    await applied();
    await setSuspended(test.db, { tenant, stackId: stack.id, suspended: true, by: 'shop/bob' });
    expect(await due()).toEqual([]);
  });

  it('leave a heal to the reconcile', async () => {
    await applied({ next_drift_at: sql`clock_timestamp() + interval '1 hour'` });
    const asked = await requestHeal(test.db, { tenant, stackId: stack.id, by: 'shop/bob' });
    expect(asked).toMatchObject({ heal_requested_by: 'shop/bob', requested_seq: 2 });
    expect(await due()).toEqual([]);
    expect(await dueStacks(test.db, { tenant, limit: 100 })).toEqual([stack.id]);
  });
});

describe('status', () => {
  it('found without a lease is told once', async () => {
    const outcome = { type: 'failed', kind: 'stalled', reason: 'HolderUnknown', message: 'worker w1 is gone' } as const;
    await markStack(test.db, stack.id, outcome);
    await markStack(test.db, stack.id, outcome);
    expect((await eventTypes()).filter((type) => type === 'HolderUnknown')).toHaveLength(1);
    expect((await fresh()).conditions).toContainEqual(
      expect.objectContaining({ type: 'Stalled', reason: 'HolderUnknown' }),
    );
  });

  it('cannot say that two stacks own one state, even of two tenants', async () => {
    const identity = {
      backend: `file:///state/${tenant}`,
      organization: 'organization',
      project: 'shop',
      stack: 'prod',
    };
    await patchStack(test.db, stack.id, { identity: JSON.stringify(identity) });
    await addTenant(test.db, `${tenant}-b`);
    const other = await addStack(test.db, { tenant: `${tenant}-b` });
    expect((await stackWithIdentity(test.db, identity))?.id).toBe(stack.id);
    await expect(patchStack(test.db, other.id, { identity: JSON.stringify(identity) })).rejects.toThrow(
      'stacks_identity',
    );
    expect(await stackWithIdentity(test.db, { ...identity, stack: 'dev' })).toBeUndefined();
  });
});

it('lists stacks by name, page by page', async () => {
  for (const name of ['a', 'b', 'c']) await addStack(test.db, { tenant, name });
  const page = await listStacks(test.db, { tenant, limit: 2 });
  expect(page.map((row) => row.name)).toEqual(['a', 'b']);
  const next = await listStacks(test.db, { tenant, limit: 2, after: 'b' });
  expect(next.map((row) => row.name)).toEqual(['c', 'shop-prod']);
});

describe('a new version of a secret', () => {
  it('asks for a look at every stack that names it, and no other', async () => {
    const uses = async (name: string, more: object) =>
      (await addStack(test.db, { tenant, name, spec: { ...SPEC, ...more } })).id;
    const users = [
      await uses('as-plan', { credentials: { plan: 'db' } }),
      await uses('as-apply', { credentials: { apply: 'db' } }),
      await uses('as-config', { pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } } }),
    ];
    await uses('another', { credentials: { plan: 'db-2' } });
    expect(await secretVersions(test.db, tenant, ['db', 'none'])).toEqual({ db: 0, none: 0 });
    const put = () => putSecret(test.db, { tenant, name: 'db', sealed: Buffer.from('x'), by: 'shop/bob' });
    expect((await put()).stackIds.toSorted()).toEqual(users.toSorted());
    expect((await put()).version).toBe(2);
    expect(await secretVersions(test.db, tenant, ['db', 'none'])).toEqual({ db: 2, none: 0 });
  });
});
