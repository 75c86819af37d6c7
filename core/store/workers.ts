import type { Selectable } from 'kysely';
import { clock, clockPlus } from './clock.ts';
import type { Queryable } from './database.ts';
import type { WorkersTable } from './schema.ts';

export type WorkerRow = Selectable<WorkersTable>;

export interface Heartbeat {
  id: string;
  tenant: string;
  bootId: string;
  pid: number;
  engineVersion: string;
}

/** A worker without a heartbeat for this long counts as gone, in milliseconds. */
export const WORKER_LIVES_MS = 60_000;

/** Says that a worker process is alive. */
export async function heartbeat(db: Queryable, beat: Heartbeat): Promise<void> {
  await db
    .insertInto('workers')
    .values({
      id: beat.id,
      tenant: beat.tenant,
      boot_id: beat.bootId,
      pid: beat.pid,
      engine_version: beat.engineVersion,
    })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet({ heartbeat_at: clock(), engine_version: beat.engineVersion }),
    )
    .execute();
}

/** Workers with a heartbeat within `withinMs`; of every tenant when none is named. */
export async function liveWorkers(
  db: Queryable,
  at: { tenant?: string; withinMs?: number } = {},
): Promise<WorkerRow[]> {
  const query = db
    .selectFrom('workers')
    .selectAll()
    .where('heartbeat_at', '>', clockPlus(-(at.withinMs ?? WORKER_LIVES_MS)))
    .orderBy('id');
  return await (at.tenant === undefined ? query : query.where('tenant', '=', at.tenant)).execute();
}
