import { mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isSealedBy, loadMasterKey, seal, type MasterKey } from '#core/secrets.ts';
import { rotateMasterKey, SEALED_COLUMNS } from '#core/store/rotate-key.ts';
import { saveRunFile } from '#core/store/run-files.ts';
import { requireMasterKey } from '#core/store/tenants.ts';
import { readSecret } from '../../workers/secrets.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let dir: string;
let plumbline: TestPlumbline;
let next: MasterKey;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rotate-'));
  await mkdir(join(dir, 'data'));
  next = await loadMasterKey(join(dir, 'next.key'), join(dir, 'data'));
  plumbline = await startTestPlumbline();
});
afterEach(async () => {
  await plumbline.close();
  await rm(dir, { recursive: true, force: true });
});

it('every column of bytes is sealed and taken over, or a hash', async () => {
  const { rows } = await sql<{ name: string }>`
    select table_name || '.' || column_name as name from information_schema.columns
    where table_schema = 'public' and data_type = 'bytea'`.execute(plumbline.database.db);
  const known = [...SEALED_COLUMNS.map(({ table, column }) => `${table}.${column}`), 'tokens.hash'];
  expect(rows.map(({ name }) => name).sort()).toEqual(known.sort());
});

it('a plan, a passphrase, a secret and the key of a tenant go on under it, and what is waiting can be applied', async () => {
  const { db } = plumbline.database;
  await plumbline.secret('db', { password: 'hunter22' });
  await plumbline.stack('shop', {
    pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } },
    approval: { mode: 'manual' },
  });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const run = await plumbline.untilRun('shop', ['awaiting_approval']);
  const { id } = await db.selectFrom('runs').select('id').executeTakeFirstOrThrow();
  const at = { tenant: plumbline.tenant, runId: id, kind: 'state' } as const;
  const sealed = seal(plumbline.deps.masterKey, 'a state', `state/${at.tenant}/${id}`);
  await db.transaction().execute((trx) => saveRunFile(trx, { ...at, sealed }));

  expect(await rotateMasterKey(db, plumbline.deps.masterKey, next)).toBeGreaterThanOrEqual(6);
  for (const column of SEALED_COLUMNS) {
    const { rows } = await sql<{ row: Record<string, string>; bytes: Buffer }>`
      select to_jsonb(t) as row, ${sql.ref(column.column)} as bytes from ${sql.table(column.table)} t`.execute(db);
    const held = rows.filter(({ bytes }) => bytes !== null);
    expect(held.length).toBeGreaterThan(0);
    for (const { row, bytes } of held) {
      const texts = Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value)]));
      expect(isSealedBy(next, bytes, column.context(texts))).toBe(true);
    }
  }
  // Cut off before the key file was exchanged, it is run again.
  expect(await rotateMasterKey(db, plumbline.deps.masterKey, next)).toBe(0);
  await expect(requireMasterKey(db, plumbline.deps.masterKey, 'old.key')).rejects.toThrow('old.key is not the one');

  plumbline.deps.masterKey = next;
  expect((await readSecret(plumbline.deps, plumbline.tenant, 'db')).data).toEqual({ password: 'hunter22' });
  await plumbline.approve('shop', run);
  await plumbline.untilRun('shop', ['applied']);
});
