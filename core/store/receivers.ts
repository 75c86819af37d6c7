import { randomBytes } from 'node:crypto';
import type { Selectable } from 'kysely';
import type { ReceiverType } from '../domain/manifest.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import type { ReceiversTable } from './schema.ts';
import type { ApplyOutcome } from './tenants.ts';

export type ReceiverRow = Selectable<ReceiversTable>;

export interface ReceiverToApply {
  tenant: string;
  name: string;
  type: ReceiverType;
  /** Which secret, and which key in it, proves the sender. */
  secret: string;
  secretKey: string;
  suspended: boolean;
  by: string;
}

/** Makes or changes a receiver. Its unguessable path is made once and stays. */
export async function upsertReceiver(
  db: Queryable,
  wanted: ReceiverToApply,
): Promise<{ receiver: ReceiverRow; outcome: ApplyOutcome }> {
  const { tenant, name } = wanted;
  const columns = {
    type: wanted.type,
    secret: wanted.secret,
    secret_key: wanted.secretKey,
    suspended: wanted.suspended,
  };
  return await inTransaction(db, async (trx) => {
    const created = await trx
      .insertInto('receivers')
      .values({ tenant, name, path: randomBytes(24).toString('base64url'), ...columns })
      .onConflict((conflict) => conflict.columns(['tenant', 'name']).doNothing())
      .returningAll()
      .executeTakeFirst();
    const changed =
      created ??
      (await trx
        .updateTable('receivers')
        .set(columns)
        .where('tenant', '=', tenant)
        .where('name', '=', name)
        .where((where) =>
          where.or(
            (['type', 'secret', 'secret_key', 'suspended'] as const).map((column) =>
              where(column, '<>', columns[column]),
            ),
          ),
        )
        .returningAll()
        .executeTakeFirst());
    if (changed === undefined) {
      const same = trx.selectFrom('receivers').selectAll().where('tenant', '=', tenant).where('name', '=', name);
      return { receiver: await same.executeTakeFirstOrThrow(), outcome: 'unchanged' };
    }
    const outcome = created === undefined ? 'changed' : 'created';
    await recordEvent(trx, {
      tenant,
      type: 'ReceiverApplied',
      message: `receiver ${name} ${outcome}`,
      actor: wanted.by,
      data: { receiver: name },
    });
    return { receiver: changed, outcome };
  });
}

/** The receiver of a hook's path, of any tenant. */
export async function findByPath(db: Queryable, path: string): Promise<ReceiverRow | undefined> {
  return await db.selectFrom('receivers').selectAll().where('path', '=', path).executeTakeFirst();
}

/** Receivers of a tenant, by name. */
export async function listReceivers(db: Queryable, tenant: string): Promise<ReceiverRow[]> {
  return await db.selectFrom('receivers').selectAll().where('tenant', '=', tenant).orderBy('name').execute();
}
