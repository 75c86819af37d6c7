import { createHash, randomBytes } from 'node:crypto';
import type { Selectable } from 'kysely';
import type { Role } from '../domain/manifest.ts';
import { clock } from './clock.ts';
import { Conflict, isUniqueViolation } from './conflict.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import type { TokensTable } from './schema.ts';

/** A token without its hash. */
export type TokenRow = Omit<Selectable<TokensTable>, 'hash'>;

const SHOWN = ['id', 'tenant', 'name', 'role', 'created_at', 'expires_at'] as const;

export interface NewToken {
  /** Null: every tenant, only with role admin. */
  tenant: string | null;
  name: string;
  role: Role;
  expiresAt?: Date | null;
  by: string;
}

/** What is stored and looked up of a token. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/**
 * Makes a bearer token of 256 random bits and returns it this once; `plumb_` lets secret scanners find it.
 * @throws Conflict when the tenant has a token of that name.
 */
export async function createToken(db: Queryable, wanted: NewToken): Promise<{ row: TokenRow; token: string }> {
  const token = `plumb_${randomBytes(32).toString('base64url')}`;
  const { tenant, name, role, expiresAt = null, by } = wanted;
  try {
    return await inTransaction(db, async (trx) => {
      const row = await trx
        .insertInto('tokens')
        .values({ tenant, name, role, hash: hashToken(token), expires_at: expiresAt })
        .returning(SHOWN)
        .executeTakeFirstOrThrow();
      if (tenant !== null) {
        await recordEvent(trx, {
          tenant,
          type: 'TokenCreated',
          message: `token ${name} with role ${role}`,
          actor: by,
          data: { token: name, role },
        });
      }
      return { row, token };
    });
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw new Conflict(`a token named ${name} exists already; delete it or choose another name`);
  }
}

/** The token of a hash, unless it has expired. */
export async function findToken(db: Queryable, hash: Buffer): Promise<TokenRow | undefined> {
  return await db
    .selectFrom('tokens')
    .select(SHOWN)
    .where('hash', '=', hash)
    .where((where) => where.or([where('expires_at', 'is', null), where('expires_at', '>', clock())]))
    .executeTakeFirst();
}

/** Tokens of a tenant, or with null those of the whole installation, by name. */
export async function listTokens(db: Queryable, tenant: string | null): Promise<TokenRow[]> {
  return await db
    .selectFrom('tokens')
    .select(SHOWN)
    .where('tenant', 'is not distinct from', tenant)
    .orderBy('name')
    .execute();
}

/** Deletes a token, which stops working at once; false when there is none of that name. */
export async function deleteToken(
  db: Queryable,
  at: { tenant: string | null; name: string; by: string },
): Promise<boolean> {
  return await inTransaction(db, async (trx) => {
    const { numDeletedRows } = await trx
      .deleteFrom('tokens')
      .where('tenant', 'is not distinct from', at.tenant)
      .where('name', '=', at.name)
      .executeTakeFirst();
    if (numDeletedRows === 0n) return false;
    if (at.tenant !== null) {
      await recordEvent(trx, {
        tenant: at.tenant,
        type: 'TokenDeleted',
        message: `token ${at.name}`,
        actor: at.by,
        data: { token: at.name },
      });
    }
    return true;
  });
}
