import { createSecretKey, randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { BoundDocument } from '#core/domain/plan.ts';
import type { DriftItem } from '#core/engine/port.ts';
import { hmacValue, newTenantKey } from '#core/secrets.ts';
import { migrateToLatest, openDatabase } from '#core/store/database.ts';
import { recordDelivery } from '#core/store/deliveries.ts';
import { healsSince, listDrift, recordHeals, replaceDrift } from '#core/store/drift.ts';
import { listEvents } from '#core/store/events.ts';
import { ensureInstallation } from '#core/store/installation.ts';
import { appendLog, readLog } from '#core/store/logs.ts';
import { getPlan, savePlan } from '#core/store/plans.ts';
import { findByPath, listReceivers, upsertReceiver } from '#core/store/receivers.ts';
import { pruneHistory } from '#core/store/retention.ts';
import { getRevision, listRevisions, markApplied, seeRevision } from '#core/store/revisions.ts';
import type { StackRow } from '#core/store/stacks.ts';
import { createTenant, getTenant, listTenants, requireMasterKey, tenantHmacKey } from '#core/store/tenants.ts';
import { createToken, deleteToken, findToken, hashToken, listTokens } from '#core/store/tokens.ts';
import { heartbeat, liveWorkers } from '#core/store/workers.ts';
import { createTestDatabase, type TestDatabase } from '../harness/database.ts';
import { addRun, addStack, addTenant, DIGEST, walkRun } from '../harness/store-rows.ts';

let test: TestDatabase;
let stack: StackRow;
let made = 0;

beforeAll(async () => {
  test = await createTestDatabase();
  await addTenant(test.db);
});
afterAll(async () => await test.close());
beforeEach(async () => (stack = await addStack(test.db, { name: `record-${(made += 1)}` })));

describe('migrations', () => {
  it('made by five processes at once are made once', async () => {
    const fresh = await createTestDatabase();
    await sql`drop schema public cascade`.execute(fresh.db);
    await sql`create schema public`.execute(fresh.db);
    const pools = Array.from({ length: 5 }, () => openDatabase(fresh.url, { maxConnections: 2 }));
    await Promise.all(pools.map(migrateToLatest));
    await expect(ensureInstallation(fresh.db)).resolves.toMatchObject({ engine_version: null });
    await Promise.all(pools.map((pool) => pool.destroy()));
    await fresh.close();
  });
});

describe('the installation', () => {
  const version = async (engine?: string) => (await ensureInstallation(test.db, engine)).engine_version;

  it('has one id, and one engine version that only goes up', async () => {
    const [first, second] = await Promise.all([ensureInstallation(test.db), ensureInstallation(test.db)]);
    expect(first.id).toBe(second.id);
    expect(await version('3.259.0')).toBe('3.259.0');
    expect(await version()).toBe('3.259.0');
    await expect(version('3.258.0')).rejects.toMatchObject({ kind: 'stalled', reason: 'EngineMismatch' });
    expect(await version('3.260.0')).toBe('3.260.0');
  });

  it('takes no newer engine while a worker of the old one is alive', async () => {
    await version('3.260.0');
    await heartbeat(test.db, { id: 'old', tenant: 'shop', bootId: 'b', pid: 1, engineVersion: '3.260.0' });
    await expect(version('3.261.0')).rejects.toThrow('stop the 1 workers of another version first');
    await test.db
      .updateTable('workers')
      .set({ heartbeat_at: sql`clock_timestamp() - interval '5 minutes'` })
      .execute();
    expect(await version('3.261.0')).toBe('3.261.0');
  });
});

describe('a tenant', () => {
  const key = { master: createSecretKey(randomBytes(32)) };

  it('keeps its HMAC key when it is applied again', async () => {
    const apply = (description?: string) =>
      createTenant(test.db, {
        name: 'bank',
        spec: description === undefined ? {} : { description },
        hmacKeySealed: newTenantKey(key, 'bank'),
      });
    expect((await apply()).outcome).toBe('created');
    const before = hmacValue(await tenantHmacKey(test.db, key, 'bank'), 'x');
    expect((await apply()).outcome).toBe('unchanged');
    expect((await apply('money')).outcome).toBe('changed');
    expect((await getTenant(test.db, 'bank'))?.spec).toEqual({ description: 'money' });
    expect(hmacValue(await tenantHmacKey(test.db, key, 'bank'), 'x')).toBe(before);
    expect((await listTenants(test.db)).map((row) => row.name)).toEqual(['bank', 'shop']);
  });

  it('are not served with another key file than the one they were sealed with', async () => {
    const fresh = await createTestDatabase();
    const another = { master: createSecretKey(randomBytes(32)) };
    await expect(requireMasterKey(fresh.db, another, '/keys/new')).resolves.toBeUndefined();
    await createTenant(fresh.db, { name: 'shop', spec: {}, hmacKeySealed: newTenantKey(key, 'shop') });
    await expect(requireMasterKey(fresh.db, key, '/keys/old')).resolves.toBeUndefined();
    await expect(requireMasterKey(fresh.db, another, '/keys/new')).rejects.toThrow('/keys/new is not the one');
    await fresh.close();
  });

  it('has no use for the key of another tenant', async () => {
    await createTenant(test.db, { name: 'thief', spec: {}, hmacKeySealed: newTenantKey(key, 'shop') });
    await expect(tenantHmacKey(test.db, key, 'thief')).rejects.toThrow('hmac/thief does not open');
  });
});

describe('drift', () => {
  const item = (name: string, after: unknown = 'b'): DriftItem => ({
    urn: `urn:pulumi:prod::shop::postgres:Role::${name}`,
    path: 'login',
    type: 'postgres:Role',
    kind: 'changed',
    before: 'a',
    after,
  });
  const replace = (items: DriftItem[]) =>
    test.db.transaction().execute((trx) => replaceDrift(trx, { tenant: 'shop', stackId: stack.id, items }));

  it('remembers when a difference was first seen, and counts what is new and gone', async () => {
    expect(await replace([item('one'), item('two')])).toEqual({ added: 2, gone: 0 });
    const firstSeen = (await listDrift(test.db, stack.id)).find((row) => row.urn.endsWith('two'))?.first_seen_at;
    expect(await replace([item('two', { deep: [1] }), item('three')])).toEqual({ added: 1, gone: 1 });
    const two = (await listDrift(test.db, stack.id)).find((row) => row.urn.endsWith('two'));
    expect(two).toMatchObject({ first_seen_at: firstSeen, before: 'a', after: { deep: [1] } });
    expect(await replace([])).toEqual({ added: 0, gone: 2 });
  });

  it('may be large, and may name a property twice', async () => {
    const many = Array.from({ length: 8000 }, (_, i) => item(`r${i}`));
    expect(await replace([...many, item('r0')])).toEqual({ added: 8000, gone: 0 });
  });

  it('says how often what was healed lately', async () => {
    const heal = () =>
      test.db
        .transaction()
        .execute((trx) => recordHeals(trx, { tenant: 'shop', stackId: stack.id, items: [item('one')] }));
    await heal();
    await heal();
    await test.db.transaction().execute((trx) => recordHeals(trx, { tenant: 'shop', stackId: stack.id, items: [] }));
    expect(await healsSince(test.db, stack.id, new Date(Date.now() - 60_000))).toHaveLength(2);
    expect(await healsSince(test.db, stack.id, new Date(Date.now() + 60_000))).toEqual([]);
  });
});

describe('revisions', () => {
  const see = (letter: string, tag = '1.0.0') => {
    const digest = `sha256:${letter.repeat(64)}`;
    const seen = { tenant: 'shop', stackId: stack.id, digest, revision: `${tag}@${digest}`, annotations: {} };
    return test.db.transaction().execute((trx) => seeRevision(trx, seen));
  };

  it('keep the ordinal of their first sighting when a tag goes back', async () => {
    expect(await see('a')).toMatchObject({ isNew: true, revision: { ordinal: 1 } });
    expect(await see('b')).toMatchObject({ isNew: true, revision: { ordinal: 2 } });
    const again = await see('a', 'prod');
    expect(again).toMatchObject({ isNew: false, revision: { ordinal: 1 } });
    expect(again.revision.revision).toMatch(/^prod@/);
    await test.db
      .transaction()
      .execute((trx) => markApplied(trx, { stackId: stack.id, digest: `sha256:${'b'.repeat(64)}` }));
    expect((await getRevision(test.db, stack.id, `sha256:${'b'.repeat(64)}`))?.applied_at).toBeInstanceOf(Date);
    expect((await listRevisions(test.db, { stackId: stack.id, limit: 1 })).map((row) => row.ordinal)).toEqual([2]);
    expect(
      (await listRevisions(test.db, { stackId: stack.id, limit: 5, before: 2 })).map((row) => row.ordinal),
    ).toEqual([1]);
  });
});

describe('tokens', () => {
  const create = (name: string, more = {}) =>
    createToken(test.db, { tenant: 'shop', name, role: 'viewer', by: 'shop/root', ...more });

  it('are shown once and found by their hash', async () => {
    const { token, row } = await create('alice');
    expect(token).toMatch(/^plumb_[A-Za-z0-9_-]{43}$/);
    expect(await findToken(test.db, hashToken(token))).toEqual(row);
    expect(JSON.stringify(row)).not.toContain('hash');
    expect(await findToken(test.db, hashToken(`${token}x`))).toBeUndefined();
  });

  it('stop working when they expire or are deleted', async () => {
    const late = await create('late', { expiresAt: new Date(Date.now() - 1000) });
    expect(await findToken(test.db, hashToken(late.token))).toBeUndefined();
    const { token } = await create('short');
    expect(await deleteToken(test.db, { tenant: 'bank', name: 'short', by: 'x' })).toBe(false);
    expect(await deleteToken(test.db, { tenant: 'shop', name: 'short', by: 'x' })).toBe(true);
    expect(await findToken(test.db, hashToken(token))).toBeUndefined();
  });

  it('have one name each, also those of the whole installation', async () => {
    await create('root', { tenant: null, role: 'admin' });
    await expect(create('root', { tenant: null, role: 'admin' })).rejects.toThrow('a token named root exists already');
    await expect(create('root')).resolves.toBeDefined();
    expect((await listTokens(test.db, null)).map((row) => row.name)).toEqual(['root']);
  });

  it('reach every tenant only as an administrator', async () => {
    await expect(create('reach', { tenant: null })).rejects.toThrow(/check/);
  });
});

describe('receivers and deliveries', () => {
  const upsert = (suspended = false) =>
    upsertReceiver(test.db, {
      tenant: 'shop',
      name: 'registry',
      type: 'distribution',
      secret: 'hook',
      secretKey: 'token',
      suspended,
      by: 'shop/root',
    });

  it('keep their unguessable path when they change', async () => {
    const { receiver, outcome } = await upsert();
    expect([outcome, receiver.path.length]).toEqual(['created', 32]);
    expect((await upsert()).outcome).toBe('unchanged');
    expect(await upsert(true)).toMatchObject({ outcome: 'changed', receiver: { path: receiver.path } });
    expect(await findByPath(test.db, receiver.path)).toMatchObject({ name: 'registry', suspended: true });
    expect(await findByPath(test.db, 'guess')).toBeUndefined();
    expect(await listReceivers(test.db, 'shop')).toHaveLength(1);
  });

  it('a delivery is new once, even a thousand times at once', async () => {
    await upsert();
    const deliver = () => recordDelivery(test.db, { tenant: 'shop', receiver: 'registry', key: 'event-1' });
    const results = await Promise.all(Array.from({ length: 1000 }, deliver));
    expect(results.filter(Boolean)).toHaveLength(1);
  });
});

const BOUND: BoundDocument = {
  tenant: 'shop',
  stack: 'shop-prod',
  generation: 1,
  operation: 'update',
  targets: [],
  identity: { backend: 'file:///state', organization: 'organization', project: 'shop', stack: 'prod' },
  checkpoint: 'absent',
  artifact: DIGEST,
  verification: { state: 'unsigned', trustKey: 'sha256:0', signers: [] },
  path: '.',
  dependencies: 'none',
  plan: DIGEST,
  settings: 'salt',
  config: {},
  environment: {},
  credentials: {},
  versions: {},
  flags: [],
  rule: {},
  summary: { create: 1 },
  shown: DIGEST,
  unknowns: [],
};

describe('plans and logs', () => {
  it('a plan comes back as it was saved', async () => {
    const run = await addRun(test.db, stack);
    const plan = {
      tenant: 'shop',
      runId: run.id,
      planDigest: DIGEST,
      bound: BOUND,
      changes: [],
      bytes: Buffer.from([0, 255]),
    };
    await test.db.transaction().execute((trx) => savePlan(trx, plan));
    expect(await getPlan(test.db, run.id)).toMatchObject({
      plan_digest: DIGEST,
      bound: BOUND,
      bytes: Buffer.from([0, 255]),
    });
  });

  it.each([
    [
      'cut between characters',
      ['0123456789', 'ääääääääääää', 'more'],
      '0123456789äää\n[output over 17 bytes is dropped]\n',
    ],
    [
      'cut where it was exactly full',
      ['0123456789nul \0', 'x', 'y'],
      '0123456789nul \u{fffd}\n[output over 17 bytes is dropped]\n',
    ],
    ['whole when it just fits', ['0123456789', 'nul \0'], '0123456789nul \u{fffd}'],
  ])('output over its limit is dropped, which is said once: %s', async (_, pieces, expected) => {
    const run = await addRun(test.db, stack);
    for (const text of pieces) await appendLog(test.db, { tenant: 'shop', runId: run.id, text, maxBytes: 17 });
    expect(await readLog(test.db, { tenant: 'shop', runId: run.id })).toBe(expected);
    expect(await readLog(test.db, { tenant: 'bank', runId: run.id })).toBe('');
  });
});

describe('workers', () => {
  it('count as alive as long as their heart beats', async () => {
    const beat = { id: 'w1', tenant: 'bank', bootId: 'b', pid: 1, engineVersion: '3.259.0' };
    await heartbeat(test.db, beat);
    await heartbeat(test.db, beat);
    expect(await liveWorkers(test.db, { tenant: 'bank' })).toHaveLength(1);
    await test.db
      .updateTable('workers')
      .set({ heartbeat_at: sql`clock_timestamp() - interval '2 minutes'` })
      .where('id', '=', 'w1')
      .execute();
    expect(await liveWorkers(test.db, { tenant: 'bank' })).toEqual([]);
  });
});

describe('pruning', () => {
  it('removes old deliveries and logs of finished runs, never an event or a log still written to', async () => {
    const done = await walkRun(test.db, await addRun(test.db, stack), 'applied');
    const live = await addRun(test.db, stack);
    for (const run of [done, live]) await appendLog(test.db, { tenant: 'shop', runId: run.id, text: 'output' });
    await upsertReceiver(test.db, {
      tenant: 'shop',
      name: 'prune',
      type: 'distribution',
      secret: 's',
      secretKey: 'k',
      suspended: false,
      by: 'x',
    });
    for (const key of ['a', 'b', 'c']) await recordDelivery(test.db, { tenant: 'shop', receiver: 'prune', key });
    const events = async () => (await listEvents(test.db, { tenant: 'shop', limit: 1000 })).length;
    const before = await events();
    const count = async () =>
      (await test.db.selectFrom('deliveries').select('key').where('receiver', '=', 'prune').execute()).length;
    await pruneHistory(test.db);
    expect(await count()).toBe(3);
    await pruneHistory(test.db, { deliveriesMs: 60_000, deliveriesPerReceiver: 2, logsMs: 0, workersMs: 0 });
    expect(await count()).toBe(2);
    await pruneHistory(test.db, { deliveriesMs: 0, deliveriesPerReceiver: 2, logsMs: 0, workersMs: 0 });
    expect(await count()).toBe(0);
    expect(await readLog(test.db, { tenant: 'shop', runId: done.id })).toBe('');
    expect(await readLog(test.db, { tenant: 'shop', runId: live.id })).toBe('output');
    expect(await events()).toBeGreaterThanOrEqual(before);
  });
});
