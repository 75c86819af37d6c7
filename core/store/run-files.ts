import type { Transaction } from 'kysely';
import { clock, clockPlus } from './clock.ts';
import type { Queryable } from './database.ts';
import type { RunFileKind, Schema } from './schema.ts';

/** Long enough to fetch it, or to wait for a worker; nothing private stays for longer. */
const LIFE_MS = { input: 24 * 60 * 60_000, state: 15 * 60_000 } as const satisfies Record<RunFileKind, number>;

/** Keeps a sealed file of a run until it expires. A run has one of each kind. */
export async function saveRunFile(
  trx: Transaction<Schema>,
  file: { tenant: string; runId: string; kind: RunFileKind; sealed: Buffer },
): Promise<void> {
  const { tenant, runId, kind, sealed } = file;
  await trx
    .insertInto('run_files')
    .values({ tenant, run_id: runId, kind, sealed, expires_at: clockPlus(LIFE_MS[kind]) })
    .execute();
}

/** The sealed file; undefined when there was none, or it has expired. */
export async function getRunFile(
  db: Queryable,
  at: { tenant: string; runId: string; kind: RunFileKind },
): Promise<Buffer | undefined> {
  const row = await db
    .selectFrom('run_files')
    .select('sealed')
    .where('run_id', '=', at.runId)
    .where('tenant', '=', at.tenant)
    .where('kind', '=', at.kind)
    .where('expires_at', '>', clock())
    .executeTakeFirst();
  return row?.sealed;
}

/** Forgets what came in once the run that read it is over. */
export async function deleteRunInput(trx: Transaction<Schema>, runId: string): Promise<void> {
  await trx.deleteFrom('run_files').where('run_id', '=', runId).where('kind', '=', 'input').execute();
}
