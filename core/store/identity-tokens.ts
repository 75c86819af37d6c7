import { sql, type Transaction } from 'kysely';
import type { MintingRun, Phase } from '../domain/credential.ts';
import { clock, clockPlus } from './clock.ts';
import type { RunRow } from './runs.ts';
import type { Lane, Schema } from './schema.ts';

/** Longer than any request counts, and long enough to look into what happened lately. */
const KEPT_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** A lease as the worker that asks for a token claims to hold it. */
export interface ClaimedLease {
  stackId: string;
  lane: Lane;
  fence: number;
  workerId: string;
  runId: string;
}

/** What a token says about its run. */
export type LeasedRun = MintingRun & Pick<RunRow, 'id' | 'tenant' | 'number' | 'digest' | 'spec'> & { stack: string };

/**
 * The run behind a lease that is live and held exactly as claimed, and is locked until the transaction ends: nobody takes it
 * over while a token is made for it. Undefined when anything of the claim is not so.
 */
export async function leasedRun(trx: Transaction<Schema>, claim: ClaimedLease): Promise<LeasedRun | undefined> {
  return await trx
    .selectFrom('leases')
    .innerJoin('runs', (join) =>
      join.onRef('runs.stack_id', '=', 'leases.stack_id').onRef('runs.tenant', '=', 'leases.tenant'),
    )
    .innerJoin('stacks', (join) =>
      join.onRef('stacks.id', '=', 'leases.stack_id').onRef('stacks.tenant', '=', 'leases.tenant'),
    )
    .select(['runs.id', 'runs.tenant', 'runs.number', 'runs.digest', 'runs.spec', 'runs.operation', 'runs.state'])
    .select(['stacks.name as stack', 'leases.lane'])
    .select(
      sql<boolean>`stacks.applied_run_id is not distinct from runs.id or not exists (
        select from runs as later where later.stack_id = runs.stack_id
          and later.operation <> 'drift' and later.number > runs.number)`.as('current'),
    )
    .where('runs.id', '=', claim.runId)
    .where('leases.stack_id', '=', claim.stackId)
    .where('leases.lane', '=', claim.lane)
    .where('leases.fence', '=', claim.fence)
    .where('leases.worker_id', '=', claim.workerId)
    .where('leases.worker_id', '<>', '')
    .where('leases.expires_at', '>', clock())
    .forShare('leases')
    .executeTakeFirst();
}

/** Tokens minted for a run in the last minute, and whether any was before for this phase. */
export async function mintedFor(
  trx: Transaction<Schema>,
  at: { runId: string; phase: Phase },
): Promise<{ lastMinute: number; before: boolean }> {
  const { lastMinute, before } = await trx
    .selectFrom('identity_tokens')
    .select([
      sql<number>`(count(*) filter (where minted_at > ${clockPlus(-MINUTE_MS)}))::int`.as('lastMinute'),
      sql<boolean>`coalesce(bool_or(phase = ${at.phase}), false)`.as('before'),
    ])
    .where('run_id', '=', at.runId)
    .executeTakeFirstOrThrow();
  return { lastMinute, before };
}

/** Notes a token. False when its request was answered before: a nonce counts once, whichever process is asked. */
export async function noteToken(
  trx: Transaction<Schema>,
  token: { nonce: string; tenant: string; runId: string; phase: Phase; jti: string },
): Promise<boolean> {
  await trx.deleteFrom('identity_tokens').where('minted_at', '<', clockPlus(-KEPT_MS)).execute();
  const { nonce, tenant, runId, phase, jti } = token;
  const noted = await trx
    .insertInto('identity_tokens')
    .values({ nonce, tenant, run_id: runId, phase, jti })
    .onConflict((conflict) => conflict.column('nonce').doNothing())
    .returning('nonce')
    .executeTakeFirst();
  return noted !== undefined;
}
