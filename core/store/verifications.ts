import { sql } from 'kysely';
import type { Signer } from '../domain/verification.ts';
import { clock } from './clock.ts';
import type { Queryable } from './database.ts';

interface VerdictKey {
  tenant: string;
  digest: string;
  trustKey: string;
}

/** Who vouched for a digest under this policy; undefined when nobody is known to, or the verdict has run out. */
export async function knownSigners(db: Queryable, key: VerdictKey): Promise<Signer[] | undefined> {
  const row = await db
    .selectFrom('verifications')
    .select('signers')
    .where('tenant', '=', key.tenant)
    .where('digest', '=', key.digest)
    .where('trust_key', '=', key.trustKey)
    .where(sql<boolean>`(valid_until is null or valid_until > clock_timestamp())`)
    .executeTakeFirst();
  return row?.signers;
}

/** Keeps a verdict that held until the first of its signers runs out. */
export async function keepSigners(db: Queryable, key: VerdictKey, signers: readonly Signer[]): Promise<void> {
  const ends = signers.flatMap(({ validUntil }) => (validUntil === undefined ? [] : [validUntil.getTime()]));
  const values = {
    signers: JSON.stringify(signers),
    valid_until: ends.length === 0 ? null : new Date(Math.min(...ends)),
  };
  await db
    .insertInto('verifications')
    .values({ tenant: key.tenant, digest: key.digest, trust_key: key.trustKey, ...values })
    .onConflict((conflict) =>
      conflict.columns(['tenant', 'digest', 'trust_key']).doUpdateSet({ ...values, verified_at: clock() }),
    )
    .execute();
}
