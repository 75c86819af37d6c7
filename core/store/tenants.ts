import { sql, type Selectable } from 'kysely';
import { ConfigError } from '../config.ts';
import { canonicalJson } from '../domain/plan.ts';
import { openTenantKey, type MasterKey, type TenantKey } from '../secrets.ts';
import { clock } from './clock.ts';
import { inTransaction, type Queryable } from './database.ts';
import type { TenantsTable } from './schema.ts';

export type TenantRow = Selectable<TenantsTable>;

/** What applying a manifest did. */
export type ApplyOutcome = 'created' | 'changed' | 'unchanged';

/** Makes a tenant or changes its spec; the HMAC key of one that exists stays. */
export async function createTenant(
  db: Queryable,
  tenant: { name: string; spec: TenantRow['spec']; hmacKeySealed: Buffer },
): Promise<{ tenant: TenantRow; outcome: ApplyOutcome }> {
  return await inTransaction(db, async (trx) => {
    const spec = JSON.stringify(tenant.spec);
    const created = await trx
      .insertInto('tenants')
      .values({ name: tenant.name, spec, hmac_key: tenant.hmacKeySealed })
      .onConflict((conflict) => conflict.column('name').doNothing())
      .returningAll()
      .executeTakeFirst();
    if (created !== undefined) return { tenant: created, outcome: 'created' };
    const found = await trx
      .selectFrom('tenants')
      .selectAll()
      .where('name', '=', tenant.name)
      .forUpdate()
      .executeTakeFirstOrThrow();
    if (canonicalJson(found.spec) === canonicalJson(tenant.spec)) return { tenant: found, outcome: 'unchanged' };
    await trx.updateTable('tenants').set({ spec }).where('name', '=', tenant.name).execute();
    // Whose signatures count may be another matter now.
    await trx
      .updateTable('stacks')
      .set({ requested_seq: sql`requested_seq + 1`, next_reconcile_at: clock() })
      .where('tenant', '=', tenant.name)
      .execute();
    return { tenant: { ...found, spec: tenant.spec }, outcome: 'changed' };
  });
}

/** Every tenant, by name. */
export async function listTenants(db: Queryable): Promise<TenantRow[]> {
  return await db.selectFrom('tenants').selectAll().orderBy('name').execute();
}

export async function getTenant(db: Queryable, name: string): Promise<TenantRow | undefined> {
  return await db.selectFrom('tenants').selectAll().where('name', '=', name).executeTakeFirst();
}

/**
 * Makes sure that the key file is the one this installation was sealed with: a lost one is made anew, and would seal new
 * secrets beside old ones that no longer open.
 * @throws ConfigError naming the file
 */
export async function requireMasterKey(db: Queryable, masterKey: MasterKey, keyFile: string): Promise<void> {
  const [tenant] = await listTenants(db);
  if (tenant === undefined) return;
  try {
    openTenantKey(masterKey, tenant.name, tenant.hmac_key);
  } catch (error) {
    throw new ConfigError(
      `the key file ${keyFile} is not the one this installation was sealed with: restore that one, or point PLUMBLINE_KEY_FILE to it; nothing that was sealed can be opened without it`,
      { cause: error },
    );
  }
}

/** The tenant's HMAC key, opened. @throws when the tenant is gone or was sealed with another master key. */
export async function tenantHmacKey(db: Queryable, masterKey: MasterKey, tenant: string): Promise<TenantKey> {
  const row = await getTenant(db, tenant);
  if (row === undefined) throw new Error(`tenant ${tenant} does not exist`);
  return openTenantKey(masterKey, tenant, row.hmac_key);
}
