import { sql, type Selectable, type Transaction } from 'kysely';
import type { Reason } from '../domain/reason.ts';
import type { Queryable } from './database.ts';
import type { EventsTable, Schema, Severity } from './schema.ts';

/** An event with the names people use instead of ids. */
export type EventRow = Selectable<EventsTable> & { stack: string | null; run: number | null };

export interface NewEvent {
  tenant: string;
  stackId?: string | null;
  runId?: string | null;
  type: string;
  reason?: Reason | null;
  severity?: Severity;
  /** Scrubbed by the caller. */
  message: string;
  actor: string;
  data?: Record<string, unknown>;
}

/** Writes a fact in the transaction of the change it tells of (rule 4 of the design). */
export async function recordEvent(trx: Transaction<Schema>, event: NewEvent): Promise<void> {
  await trx
    .insertInto('events')
    .values({
      tenant: event.tenant,
      stack_id: event.stackId ?? null,
      run_id: event.runId ?? null,
      type: event.type,
      reason: event.reason ?? null,
      severity: event.severity ?? 'info',
      message: event.message,
      actor: event.actor,
      data: JSON.stringify(event.data ?? {}),
    })
    .execute();
}

/** Position of an event in commit order: opaque, for `after`. */
export function eventCursor(event: { txid: string; id: string }): string {
  return `${event.txid}-${event.id}`;
}

export const EVENT_CURSOR_PATTERN = /^\d{1,20}-\d{1,19}$/;

/**
 * Events in commit order, at most `limit`. A reader that goes on after the last one's cursor never skips any: ids are given
 * before the commit, so what is not older than the oldest open transaction is left for the next call, and the order is
 * by transaction first.
 */
export async function listEvents(
  db: Queryable,
  at: { tenant: string; stackId?: string; after?: string; limit: number },
): Promise<EventRow[]> {
  let query = eventsOf(db, at).where(sql<boolean>`events.txid < pg_snapshot_xmin(pg_current_snapshot())`);
  if (at.after !== undefined) {
    const [txid = '0', id = '0'] = at.after.split('-');
    query = query.where(sql<boolean>`(events.txid, events.id) > (${txid}::xid8, ${id}::bigint)`);
  }
  return await query.orderBy('events.txid').orderBy('events.id').limit(at.limit).execute();
}

/** The newest events first, for people; `before` goes back from a cursor. */
export async function newestEvents(
  db: Queryable,
  at: { tenant: string; stackId?: string; before?: string; limit: number },
): Promise<EventRow[]> {
  let query = eventsOf(db, at);
  if (at.before !== undefined) {
    const [txid = '0', id = '0'] = at.before.split('-');
    query = query.where(sql<boolean>`(events.txid, events.id) < (${txid}::xid8, ${id}::bigint)`);
  }
  return await query.orderBy('events.txid', 'desc').orderBy('events.id', 'desc').limit(at.limit).execute();
}

function eventsOf(db: Queryable, at: { tenant: string; stackId?: string }) {
  const query = db
    .selectFrom('events')
    .leftJoin('stacks', 'stacks.id', 'events.stack_id')
    .leftJoin('runs', 'runs.id', 'events.run_id')
    .selectAll('events')
    .select(['stacks.name as stack', 'runs.number as run'])
    .where('events.tenant', '=', at.tenant);
  return at.stackId === undefined ? query : query.where('events.stack_id', '=', at.stackId);
}
