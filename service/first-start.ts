import { newTenantKey, type MasterKey } from '#core/secrets.ts';
import { Conflict } from '#core/store/conflict.ts';
import type { Database } from '#core/store/database.ts';
import { ensureInstallation } from '#core/store/installation.ts';
import { createTenant, listTenants } from '#core/store/tenants.ts';
import { createToken, listTokens } from '#core/store/tokens.ts';
import { DEFAULT_TENANT } from './apply.ts';

/** Name of the first token. */
const ADMIN = 'admin';

/**
 * Makes what an empty installation needs: its row, a tenant to begin with, and a token for an administrator bound to no
 * tenant, which is returned once. Undefined when there is such a token already; deleting all of them and starting
 * again is the way back in for whoever owns the database.
 */
export async function prepareInstallation(db: Database, masterKey: MasterKey): Promise<string | undefined> {
  await ensureInstallation(db);
  if ((await listTenants(db)).length === 0) {
    await createTenant(db, { name: DEFAULT_TENANT, spec: {}, hmacKeySealed: newTenantKey(masterKey, DEFAULT_TENANT) });
  }
  if ((await listTokens(db, null)).length > 0) return undefined;
  try {
    const { token } = await createToken(db, { tenant: null, name: ADMIN, role: 'admin', by: 'first start' });
    return token;
  } catch (error) {
    // Another service process was first.
    if (error instanceof Conflict) return undefined;
    throw error;
  }
}
