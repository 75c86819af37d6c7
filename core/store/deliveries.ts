import type { Queryable } from './database.ts';

/**
 * Notes one delivery of a webhook; true when it is new. A boolean on purpose: whoever forgets to look sees no repeat as new.
 */
export async function recordDelivery(
  db: Queryable,
  delivery: { tenant: string; receiver: string; key: string; outcome?: string },
): Promise<boolean> {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('deliveries')
    .values({ ...delivery, outcome: delivery.outcome ?? 'accepted' })
    .onConflict((conflict) => conflict.columns(['tenant', 'receiver', 'key']).doNothing())
    .executeTakeFirst();
  return numInsertedOrUpdatedRows === 1n;
}
