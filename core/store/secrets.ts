import { sql, type Selectable } from 'kysely';
import type { Queryable } from './database.ts';
import { inTransaction } from './database.ts';
import { clock } from './clock.ts';
import { recordEvent } from './events.ts';
import type { SecretsTable } from './schema.ts';

export type SecretRow = Selectable<SecretsTable>;
/** A secret without what is sealed in it. */
export type SecretInfo = Omit<SecretRow, 'sealed'>;

/**
 * Stores a new version of a secret and asks for a look at every stack that names it; returns those stacks. Whether the
 * values differ from the stored ones is the caller's to find out: the same values are sealed differently every time.
 */
export async function putSecret(
  db: Queryable,
  secret: { tenant: string; name: string; sealed: Buffer; by: string },
): Promise<{ version: number; stackIds: string[] }> {
  const { tenant, name, sealed, by } = secret;
  return await inTransaction(db, async (trx) => {
    const { version } = await trx
      .insertInto('secrets')
      .values({ tenant, name, sealed })
      .onConflict((conflict) =>
        conflict
          .columns(['tenant', 'name'])
          .doUpdateSet({ sealed, version: sql`secrets.version + 1`, updated_at: clock() }),
      )
      .returning('version')
      .executeTakeFirstOrThrow();
    const stacks = await trx
      .updateTable('stacks')
      .set({ requested_seq: sql`requested_seq + 1`, next_reconcile_at: clock() })
      .where('tenant', '=', tenant)
      .where(
        sql<boolean>`(spec->'credentials'->>'plan' = ${name} or spec->'credentials'->>'apply' = ${name}
          or spec->'source'->>'credentials' = ${name}
          or jsonb_path_exists(coalesce(spec->'source'->'verify', '{}'), '$.** ? (@ == $name)', jsonb_build_object('name', ${name}::text))
          or exists (select from tenants where tenants.name = stacks.tenant
            and jsonb_path_exists(coalesce(tenants.spec->'verify', '{}'), '$.** ? (@ == $name)', jsonb_build_object('name', ${name}::text)))
          or exists (select from jsonb_each(coalesce(spec->'pulumi'->'secrets', '{}')) as used where used.value->>'secret' = ${name}))`,
      )
      .returning('id')
      .execute();
    await recordEvent(trx, {
      tenant,
      type: 'SecretApplied',
      message: `secret ${name} is now version ${version}`,
      actor: by,
      data: { secret: name, version },
    });
    return { version, stackIds: stacks.map((stack) => stack.id) };
  });
}

export async function getSecret(db: Queryable, tenant: string, name: string): Promise<SecretRow | undefined> {
  return await db
    .selectFrom('secrets')
    .selectAll()
    .where('tenant', '=', tenant)
    .where('name', '=', name)
    .executeTakeFirst();
}

/** Names and versions, by name. */
export async function listSecrets(db: Queryable, tenant: string): Promise<SecretInfo[]> {
  return await db
    .selectFrom('secrets')
    .select(['tenant', 'name', 'version', 'external', 'updated_at'])
    .where('tenant', '=', tenant)
    .orderBy('name')
    .execute();
}

/** Versions of the named secrets; one that does not exist is version 0, so that making it changes the answer. */
export async function secretVersions(
  db: Queryable,
  tenant: string,
  names: readonly string[],
): Promise<Record<string, number>> {
  const versions = Object.fromEntries(names.map((name) => [name, 0]));
  if (names.length === 0) return versions;
  const rows = await db
    .selectFrom('secrets')
    .select(['name', 'version'])
    .where('tenant', '=', tenant)
    .where('name', 'in', names)
    .execute();
  for (const row of rows) versions[row.name] = row.version;
  return versions;
}
