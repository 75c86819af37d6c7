import { sql } from 'kysely';
import { inTransaction, type Queryable } from './database.ts';
import { assertLease, type LeaseKey } from './leases.ts';
import type { PendingOperation } from './schema.ts';
import { getStackById } from './stacks.ts';

/**
 * Adds a create that the state has no record of to what a person is asked about. Under the lease: a worker that lost it has
 * nothing to say any more. @throws transient(LeaseLost)
 */
export async function noteOpenCreate(db: Queryable, key: LeaseKey, operation: PendingOperation): Promise<void> {
  await inTransaction(db, async (trx) => {
    await assertLease(trx, key);
    await trx
      .updateTable('stacks')
      .set({ pending_operations: sql`coalesce(pending_operations, '[]') || ${JSON.stringify([operation])}::jsonb` })
      .where('id', '=', key.stackId)
      .execute();
  });
}

/** The creates noted so far that no state has a record of; an answer to all ends them. */
export async function openCreates(db: Queryable, stackId: string): Promise<PendingOperation[]> {
  const stack = await getStackById(db, stackId);
  return (stack?.pending_operations ?? []).filter((operation) => operation.resource !== undefined);
}
