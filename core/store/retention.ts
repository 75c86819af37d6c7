import { sql } from 'kysely';
import { clock, clockPlus } from './clock.ts';
import type { Queryable } from './database.ts';

const DAY_MS = 86_400_000;

/** How long what nobody needs any more is kept, in milliseconds. */
export interface RetentionLimits {
  deliveriesMs: number;
  /** Deliveries kept per receiver whatever their age is: a bound on a flood. */
  deliveriesPerReceiver: number;
  /** Output of finished runs. */
  logsMs: number;
  workersMs: number;
}

const DEFAULT_LIMITS: RetentionLimits = {
  deliveriesMs: 7 * DAY_MS,
  deliveriesPerReceiver: 100_000,
  logsMs: 30 * DAY_MS,
  workersMs: DAY_MS,
};

/** Removes old deliveries, logs and worker rows. Events are the outbox and the audit trail: none is removed. */
export async function pruneHistory(db: Queryable, limits: RetentionLimits = DEFAULT_LIMITS): Promise<void> {
  await db.deleteFrom('deliveries').where('received_at', '<', clockPlus(-limits.deliveriesMs)).execute();
  await sql`
    delete from deliveries using (
      select tenant, receiver, key,
        row_number() over (partition by tenant, receiver order by received_at desc) as place
      from deliveries
    ) as ranked
    where ranked.place > ${limits.deliveriesPerReceiver}
      and (deliveries.tenant, deliveries.receiver, deliveries.key) = (ranked.tenant, ranked.receiver, ranked.key)
  `.execute(db);
  await sql`
    delete from run_logs using runs
    where runs.id = run_logs.run_id and runs.finished_at < ${clockPlus(-limits.logsMs)}
  `.execute(db);
  await db.deleteFrom('run_files').where('expires_at', '<', clock()).execute();
  await db.deleteFrom('workers').where('heartbeat_at', '<', clockPlus(-limits.workersMs)).execute();
}
