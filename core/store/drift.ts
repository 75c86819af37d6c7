import { sql, type Selectable, type Transaction } from 'kysely';
import { healable, type LastHeal } from '../domain/drift.ts';
import type { Finding } from '../domain/drift-report.ts';
import type { DriftItem } from '../engine/port.ts';
import { clock, databaseNow } from './clock.ts';
import type { Queryable } from './database.ts';
import type { DriftItemsTable, HealsTable, Schema } from './schema.ts';

export type DriftRow = Selectable<DriftItemsTable>;
export type HealRow = Selectable<HealsTable>;

function keyOf(item: { urn: string; path: string }): string {
  return `${item.urn}\n${item.path}`;
}

function jsonOrNull(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value);
}

/** Whether a row is left out by a rule that holds still. */
export function isIgnored(row: Pick<DriftRow, 'ignored_until'>, now: Date): boolean {
  return row.ignored_until !== null && row.ignored_until > now;
}

/** Resources of the last check that a heal may set back. */
export function healTargets(rows: readonly DriftRow[], now: Date): string[] {
  return [...new Set(healable(rows, (row) => isIgnored(row, now)).map((row) => row.urn))];
}

/**
 * Puts the findings of a check in the place of the former ones. What was found before keeps its `first_seen_at`. Returns how
 * many of those that count are new and how many are gone.
 */
export async function replaceDrift(
  trx: Transaction<Schema>,
  check: { tenant: string; stackId: string; items: readonly Finding[] },
): Promise<{ added: number; gone: number }> {
  const before = await listDrift(trx, check.stackId);
  const now = await databaseNow(trx);
  const seenAt = new Map(before.map((row) => [keyOf(row), row.first_seen_at]));
  const items = [...new Map(check.items.map((item) => [keyOf(item), item])).values()];
  await trx.deleteFrom('drift_items').where('stack_id', '=', check.stackId).execute();
  const rows = items.map((item) => ({
    tenant: check.tenant,
    stack_id: check.stackId,
    urn: item.urn,
    path: item.path,
    type: item.type,
    kind: item.kind,
    before: jsonOrNull(item.before),
    after: jsonOrNull(item.after),
    ignored_until: item.ignored?.until ?? null,
    ignored_reason: item.ignored?.reason ?? null,
    first_seen_at: seenAt.get(keyOf(item)) ?? clock(),
    last_seen_at: clock(),
  }));
  // A statement takes at most 65,535 parameters.
  for (let start = 0; start < rows.length; start += 1000) {
    await trx
      .insertInto('drift_items')
      .values(rows.slice(start, start + 1000))
      .execute();
  }
  const counted = new Set(before.filter((row) => !isIgnored(row, now)).map(keyOf));
  const counts = items.filter((item) => item.ignored === undefined);
  const kept = counts.filter((item) => counted.has(keyOf(item))).length;
  return { added: counts.length - kept, gone: counted.size - kept };
}

/** What the last check found, the longest known first. */
export async function listDrift(db: Queryable, stackId: string): Promise<DriftRow[]> {
  return await db
    .selectFrom('drift_items')
    .selectAll()
    .where('stack_id', '=', stackId)
    .orderBy('first_seen_at')
    .orderBy('urn')
    .orderBy('path')
    .execute();
}

/** Remembers which properties a heal of these resources set back, for `HealLoop`. */
export async function recordHeals(
  trx: Transaction<Schema>,
  healed: {
    tenant: string;
    stackId: string;
    items: readonly Pick<DriftItem, 'urn' | 'path' | 'kind' | 'before' | 'after'>[];
  },
): Promise<void> {
  const changed = healed.items.filter((item) => item.kind === 'changed');
  for (let start = 0; start < changed.length; start += 1000) {
    const rows = changed.slice(start, start + 1000).map(({ urn, path, before, after }) => ({
      tenant: healed.tenant,
      stack_id: healed.stackId,
      urn,
      path,
      found: jsonOrNull(after ?? undefined),
      wanted: jsonOrNull(before ?? undefined),
    }));
    await trx.insertInto('heals').values(rows).execute();
  }
}

/** The newest run that heals; undefined where none ever did. */
export async function lastHeal(
  db: Queryable,
  stackId: string,
): Promise<(LastHeal & { finished: boolean }) | undefined> {
  const run = await db
    .selectFrom('runs')
    .select(['state', 'created_at', 'finished_at'])
    .where('stack_id', '=', stackId)
    .where('trigger', '=', 'heal')
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return run && { state: run.state, createdAt: run.created_at, finished: run.finished_at !== null };
}

/** Heals of a stack since a time of the database's clock. */
export async function healsSince(db: Queryable, stackId: string, since: Date): Promise<HealRow[]> {
  return await db
    .selectFrom('heals')
    .selectAll()
    .where('stack_id', '=', stackId)
    .where('healed_at', '>=', sql<Date>`${since}`)
    .execute();
}
