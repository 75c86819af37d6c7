import { parseDuration } from '#core/domain/duration.ts';
import type { TokenManifest } from '#core/domain/manifest.ts';
import { databaseNow } from '#core/store/clock.ts';
import type { Queryable } from '#core/store/database.ts';
import { createToken, type TokenRow } from '#core/store/tokens.ts';

export interface TokenToIssue {
  tenant: string | null;
  name: string;
  spec: TokenManifest['spec'];
  by: string;
}

/** Makes a token; its life is counted by the database's clock. @throws Conflict when the name is taken. */
export async function issueToken(db: Queryable, wanted: TokenToIssue): Promise<{ row: TokenRow; token: string }> {
  const { tenant, name, spec, by } = wanted;
  const life = spec.expires === undefined ? undefined : parseDuration(spec.expires);
  const expiresAt = life === undefined ? null : new Date((await databaseNow(db)).getTime() + life);
  return createToken(db, { tenant, name, role: spec.role, expiresAt, by });
}
