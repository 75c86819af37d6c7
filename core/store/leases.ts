import { sql, type Selectable, type Transaction } from 'kysely';
import { transient } from '../domain/errors.ts';
import { clock, clockPlus } from './clock.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import type { Lane, LeasesTable, Schema } from './schema.ts';
import { lockStack, patchStack } from './stacks.ts';

export type LeaseRow = Selectable<LeasesTable>;

/** A lease as its holder names it. */
export interface LeaseKey {
  stackId: string;
  lane: Lane;
  fence: number;
}

export interface LeaseRequest {
  stackId: string;
  lane: Lane;
  tenant: string;
  workerId: string;
  bootId: string;
  workerPidns: string;
  /** Milliseconds the lease lasts without a renewal. */
  ttlMs: number;
  /** Whether everything the former holder started is known to be gone: same boot, our PID namespace, an empty run namespace. */
  proveDead(previous: LeaseRow): boolean | Promise<boolean>;
}

export type LeaseResult =
  | { outcome: 'acquired'; fence: number; previous?: LeaseRow }
  | { outcome: 'held'; until: Date }
  | { outcome: 'holder-unknown'; previous: LeaseRow };

/**
 * Takes the lease of one lane of a stack. One that expired with a process of a run on record is taken over only with proof
 * of death or a person's word (rule 7 of the design); expiry alone proves nothing.
 */
export async function acquireLease(db: Queryable, request: LeaseRequest): Promise<LeaseResult> {
  return await inTransaction(db, async (trx) => {
    const lease = await lockLease(trx, request);
    const abandoned = lease.worker_id !== '';
    if (abandoned && lease.alive) return { outcome: 'held', until: lease.expires_at };
    const { alive: _, ...previous } = lease;
    const confirmed = await useConfirmation(trx, request);
    const dead = !abandoned || lease.run_pidns === null || confirmed || (await request.proveDead(previous));
    if (!dead) return { outcome: 'holder-unknown', previous };
    const fence = lease.fence + 1;
    await trx
      .updateTable('leases')
      .set({
        worker_id: request.workerId,
        fence,
        boot_id: request.bootId,
        worker_pidns: request.workerPidns,
        run_pidns: null,
        run_id: null,
        acquired_at: clock(),
        expires_at: clockPlus(request.ttlMs),
      })
      .where('stack_id', '=', request.stackId)
      .where('lane', '=', request.lane)
      .execute();
    return abandoned ? { outcome: 'acquired', fence, previous } : { outcome: 'acquired', fence };
  });
}

async function lockLease(trx: Transaction<Schema>, request: LeaseRequest): Promise<LeaseRow & { alive: boolean }> {
  await trx
    .insertInto('leases')
    .values({
      stack_id: request.stackId,
      lane: request.lane,
      tenant: request.tenant,
      worker_id: '',
      fence: 0,
      boot_id: '',
      worker_pidns: '',
      acquired_at: clock(),
      expires_at: clock(),
    })
    .onConflict((conflict) => conflict.columns(['stack_id', 'lane']).doNothing())
    .execute();
  return await trx
    .selectFrom('leases')
    .selectAll()
    .select(sql<boolean>`expires_at > clock_timestamp()`.as('alive'))
    .where('stack_id', '=', request.stackId)
    .where('lane', '=', request.lane)
    .where('tenant', '=', request.tenant)
    .forUpdate()
    .executeTakeFirstOrThrow();
}

/** Uses up a person's word: it counts for every lane that is expired now, and for no later death. */
async function useConfirmation(trx: Transaction<Schema>, request: LeaseRequest): Promise<boolean> {
  const { unlock_confirmed_by: by } = await lockStack(trx, request.stackId, request.tenant);
  if (by === null) return false;
  await patchStack(trx, request.stackId, { unlock_confirmed_by: null });
  await trx
    .updateTable('leases')
    .set({ run_pidns: null })
    .where('stack_id', '=', request.stackId)
    .where('expires_at', '<=', clock())
    .execute();
  const message = 'the lease of the worker that was declared dead is taken over';
  await recordEvent(trx, {
    tenant: request.tenant,
    stackId: request.stackId,
    type: 'UnlockUsed',
    severity: 'warning',
    message,
    actor: by,
  });
  return true;
}

function lost(key: LeaseKey) {
  return transient(
    'LeaseLost',
    `the ${key.lane} lease of stack ${key.stackId} (fence ${key.fence}) ended or is another worker's; this worker stops`,
  );
}

/** Prolongs the lease; returns the milliseconds it has from the moment of the answer. @throws transient(LeaseLost) */
export async function renewLease(db: Queryable, key: LeaseKey & { ttlMs: number }): Promise<number> {
  const renewed = await db
    .updateTable('leases')
    .set({ expires_at: clockPlus(key.ttlMs) })
    .where('stack_id', '=', key.stackId)
    .where('lane', '=', key.lane)
    .where('fence', '=', key.fence)
    .where('worker_id', '<>', '')
    .where('expires_at', '>', clock())
    .returning(sql<number>`(extract(epoch from expires_at - clock_timestamp()) * 1000)::float8`.as('remaining'))
    .executeTakeFirst();
  if (renewed === undefined) throw lost(key);
  return renewed.remaining;
}

/**
 * Notes the PID namespace of the engine process about to start, or null when its tree is known to be gone; the latter is
 * taken even after the lease ended, because it is the proof the next holder needs.
 * @throws transient(LeaseLost), and then nothing may be started.
 */
export async function recordNamespace(
  db: Queryable,
  key: LeaseKey & { pidNamespace: string | null; runId: string },
): Promise<void> {
  let update = db
    .updateTable('leases')
    .set({ run_pidns: key.pidNamespace, run_id: key.runId })
    .where('stack_id', '=', key.stackId)
    .where('lane', '=', key.lane)
    .where('fence', '=', key.fence)
    .where('worker_id', '<>', '');
  if (key.pidNamespace !== null) update = update.where('expires_at', '>', clock());
  const { numUpdatedRows } = await update.executeTakeFirst();
  if (numUpdatedRows === 0n) throw lost(key);
}

/** Gives the lease back. With a process tree not known to be gone it only ends, and the next holder needs its proof. */
export async function releaseLease(db: Queryable, key: LeaseKey): Promise<void> {
  await db
    .updateTable('leases')
    .set({ worker_id: sql`case when run_pidns is null then '' else worker_id end`, expires_at: clock() })
    .where('stack_id', '=', key.stackId)
    .where('lane', '=', key.lane)
    .where('fence', '=', key.fence)
    .execute();
}

/** Locks the lease for the rest of a status transaction: first of all locks (lease, stack, run). @throws transient(LeaseLost) */
export async function assertLease(trx: Transaction<Schema>, key: LeaseKey): Promise<void> {
  const held = await trx
    .selectFrom('leases')
    .select('fence')
    .where('stack_id', '=', key.stackId)
    .where('lane', '=', key.lane)
    .where('fence', '=', key.fence)
    .where('worker_id', '<>', '')
    .where('expires_at', '>', clock())
    .forUpdate()
    .executeTakeFirst();
  if (held === undefined) throw lost(key);
}
