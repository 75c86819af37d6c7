import { sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { afterEach, expect, it } from 'vitest';
import { migrateToLatest } from '#core/store/database.ts';
import * as initial from '#core/store/migrations/0001-initial.ts';
import { createTestDatabase, type TestDatabase } from '../harness/database.ts';

let test: TestDatabase;
afterEach(() => test.close());

const digest = (letter: string) => `sha256:${letter.repeat(64)}`;

async function startAtTheFirstVersion(): Promise<string> {
  test = await createTestDatabase({ migrated: false });
  const provider = { getMigrations: () => Promise.resolve({ '0001-initial': initial }) };
  const { error } = await new Migrator({ db: test.db, provider }).migrateToLatest();
  expect(error).toBeUndefined();
  await sql`insert into tenants (name, spec, hmac_key) values ('shop', '{"description": "ours"}', '')`.execute(test.db);
  const { rows } = await sql<{ id: string }>`
    insert into stacks (tenant, name, labels, spec, spec_by, repository, conditions, settings)
    values ('shop', 'web', '{}', '{}', 'alice', 'r.example/infra/web', '[]', '{}') returning id`.execute(test.db);
  const id = rows[0]?.id ?? '';
  for (const [ordinal, revision, letter, seen] of [
    [1, `1.0.0@${digest('a')}`, 'a', '2026-01-01'],
    [2, `1.0.0@${digest('b')}`, 'b', '2026-02-01'],
    [3, `prod@${digest('c')}`, 'c', '2026-03-01'],
    [4, digest('d'), 'd', '2026-04-01'],
  ] as const) {
    await sql`insert into revisions (tenant, stack_id, digest, revision, ordinal, annotations, last_seen_at)
      values ('shop', ${id}, ${digest(letter)}, ${revision}, ${ordinal}, '{}', ${seen}::timestamptz)`.execute(test.db);
  }
  return id;
}

it('its tenants run on, visibly without signatures, and new ones require them', async () => {
  await startAtTheFirstVersion();
  await migrateToLatest(test.db);
  const tenant = await test.db
    .selectFrom('tenants')
    .select('spec')
    .where('name', '=', 'shop')
    .executeTakeFirstOrThrow();
  expect(tenant.spec).toEqual({ description: 'ours', signatures: 'optional' });
});

async function digestOfTag(id: string, tag: string): Promise<string | undefined> {
  const { rows } = await sql<{ digest: string }>`
    select digest from source_tags where stack_id = ${id} and repository = 'r.example/infra/web' and tag = ${tag}`.execute(
    test.db,
  );
  return rows[0]?.digest;
}

it('its tags are known by the digest they had last', async () => {
  const id = await startAtTheFirstVersion();
  await migrateToLatest(test.db);
  expect(await digestOfTag(id, '1.0.0')).toBe(digest('b'));
  expect(await digestOfTag(id, 'prod')).toBe(digest('c'));
  expect(await digestOfTag(id, digest('d'))).toBeUndefined();
});
