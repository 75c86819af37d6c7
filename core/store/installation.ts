import type { Selectable } from 'kysely';
import semver from 'semver';
import { stalled } from '../domain/errors.ts';
import { inTransaction, type Queryable } from './database.ts';
import type { InstallationTable } from './schema.ts';
import { liveWorkers } from './workers.ts';

export type InstallationRow = Selectable<InstallationTable>;

/**
 * The installation's row, made by the first start. A worker names its engine's version: all of them run the same one. A newer
 * one is adopted when no worker of another version is alive; an older one never, because state only goes forward.
 * @throws stalled(EngineMismatch)
 */
export async function ensureInstallation(db: Queryable, engineVersion?: string): Promise<InstallationRow> {
  return await inTransaction(db, async (trx) => {
    await trx
      .insertInto('installation')
      .values({ only: true })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    const row = await trx.selectFrom('installation').selectAll().forUpdate().executeTakeFirstOrThrow();
    if (engineVersion === undefined || engineVersion === row.engine_version) return row;
    if (row.engine_version !== null) {
      const others = (await liveWorkers(trx)).filter((worker) => worker.engine_version !== engineVersion);
      refuseMismatch(row.engine_version, engineVersion, others.length);
    }
    await trx.updateTable('installation').set({ engine_version: engineVersion }).execute();
    return { ...row, engine_version: engineVersion };
  });
}

/**
 * Eight characters that tell this installation's runs from another's on the same state backend: numbers of runs repeat, and a
 * lock is removed by the name of the run that left it.
 */
export async function installationMark(db: Queryable): Promise<string> {
  const find = () => db.selectFrom('installation').select('id').executeTakeFirst();
  const found = await find();
  return (found ?? (await ensureInstallation(db))).id.slice(0, 8);
}

function refuseMismatch(installed: string, ours: string, othersAlive: number): void {
  const here = `this worker has Pulumi engine ${ours}, the installation runs ${installed}`;
  if (semver.valid(installed) === null || semver.valid(ours) === null || semver.lt(ours, installed)) {
    throw stalled('EngineMismatch', `${here}: install that version, or set PLUMBLINE_PULUMI to it`);
  }
  if (othersAlive > 0) {
    throw stalled(
      'EngineMismatch',
      `${here}: stop the ${othersAlive} workers of another version first, then start the new ones`,
    );
  }
}
