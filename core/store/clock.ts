import { sql, type RawBuilder } from 'kysely';
import type { Queryable } from './database.ts';

/** The database's clock inside a statement; `now()` would be the start of the transaction. */
export function clock(): RawBuilder<Date> {
  return sql<Date>`clock_timestamp()`;
}

/** The database's clock plus milliseconds. */
export function clockPlus(ms: number): RawBuilder<Date> {
  return sql<Date>`clock_timestamp() + ${ms} * interval '1 millisecond'`;
}

/** The time that decides: the database's, never a worker's. */
export async function databaseNow(db: Queryable): Promise<Date> {
  const { now } = await db.selectNoFrom(clock().as('now')).executeTakeFirstOrThrow();
  return now;
}
