import { sql, type Selectable } from 'kysely';
import type { Queryable } from './database.ts';
import { inTransaction } from './database.ts';
import { clock } from './clock.ts';
import { recordEvent } from './events.ts';
import type { ExternalSecret } from '../domain/manifest.ts';
import type { SecretsTable } from './schema.ts';

export type SecretRow = Selectable<SecretsTable>;
/** A secret without what is sealed in it. */
export type SecretInfo = Pick<SecretRow, 'tenant' | 'name' | 'version' | 'external' | 'updated_at'>;

/**
 * Stores a new version of a secret and asks for a look at every stack that names it; returns those stacks. Whether the
 * values differ from the stored ones is the caller's to find out: the same values are sealed differently every time.
 */
export async function putSecret(
  db: Queryable,
  secret: { tenant: string; name: string; sealed: Buffer; external?: ExternalSecret | undefined; by: string },
): Promise<{ version: number; stackIds: string[] }> {
  const { tenant, name, sealed, by } = secret;
  const external = secret.external === undefined ? null : JSON.stringify(secret.external);
  const fresh = { sealed, external, digest: null, wanted_version: null };
  return await inTransaction(db, async (trx) => {
    const { version } = await trx
      .insertInto('secrets')
      .values({ tenant, name, ...fresh })
      .onConflict((conflict) =>
        conflict
          .columns(['tenant', 'name'])
          .doUpdateSet({ ...fresh, version: sql`secrets.version + 1`, updated_at: clock() }),
      )
      .returning('version')
      .executeTakeFirstOrThrow();
    const stacks = await trx
      .updateTable('stacks')
      .set({ requested_seq: sql`requested_seq + 1`, next_reconcile_at: clock() })
      .where('tenant', '=', tenant)
      .where(
        sql<boolean>`jsonb_path_exists(jsonb_build_array(spec->'credentials', spec->'source'->'credentials', spec->'source'->'verify',
            spec->'pulumi'->'passphrase'->'secret', spec->'pulumi'->'policyPacks'), '$.** ? (@ == $name)', jsonb_build_object('name', ${name}::text))
          or exists (select from tenants where tenants.name = stacks.tenant
            and jsonb_path_exists(jsonb_build_array(tenants.spec->'verify', tenants.spec->'policyPacks'), '$.** ? (@ == $name)', jsonb_build_object('name', ${name}::text)))
          or exists (select from jsonb_each(coalesce(spec->'pulumi'->'secrets', '{}')) as used where used.value->>'secret' = ${name})`,
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

/** How often other values in a store are a new wish: a store that has others at every reading must not plan for ever. */
const ROTATION_MINUTES = 10;

/**
 * Writes down what an external secret was read as, and returns the version of these values: other ones than before are a new
 * version. `wanted_version`, which a new plan is made for, follows every 10 minutes at most.
 */
export async function noteReading(
  db: Queryable,
  { tenant, name, digest }: { tenant: string; name: string; digest: string },
): Promise<number> {
  return await inTransaction(db, async (trx) => {
    const row = await trx
      .selectFrom('secrets')
      .select(['digest', 'version', 'wanted_version'])
      .select(
        sql<boolean>`updated_at < clock_timestamp() - make_interval(mins => ${sql.lit(ROTATION_MINUTES)})`.as('due'),
      )
      .where('tenant', '=', tenant)
      .where('name', '=', name)
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined) throw new Error(`secret ${name} of tenant ${tenant} was deleted while it was read`);
    const isRotated = row.digest !== null && row.digest !== digest;
    const version = row.version + (isRotated ? 1 : 0);
    const follows = row.due && (row.wanted_version ?? version) < version;
    if (row.digest === digest && !follows) return version;
    const wanted = row.digest === null ? { wanted_version: version } : {};
    const change = { digest, version, ...(follows ? { wanted_version: version, updated_at: clock() } : wanted) };
    await trx.updateTable('secrets').set(change).where('tenant', '=', tenant).where('name', '=', name).execute();
    if (isRotated) {
      await recordEvent(trx, {
        tenant,
        type: 'SecretRotated',
        message: `secret ${name} has other values in its store: version ${version}`,
        actor: 'plumbline',
        data: { secret: name, version },
      });
    }
    return version;
  });
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
    .select(['name', sql<number>`coalesce(wanted_version, version)`.as('version')])
    .where('tenant', '=', tenant)
    .where('name', 'in', names)
    .execute();
  for (const row of rows) versions[row.name] = row.version;
  return versions;
}
