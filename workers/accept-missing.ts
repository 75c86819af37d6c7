import { asReconcileError } from '#core/domain/errors.ts';
import { otherPlace } from '#core/domain/drift-principal.ts';
import type { Checkpoint } from '#core/engine/port.ts';
import { sql, type Transaction } from 'kysely';
import { getRunById, type RunRow } from '#core/store/runs.ts';
import type { Schema } from '#core/store/schema.ts';
import { isDestroyed, lockStack, patchStack, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';
import type { HeldLease } from './lease.ts';
import { record, type EventInput, type StatusChange } from './record.ts';
import { checkState } from './state-check.ts';
import { planAgain } from './steps/destroy.ts';
import { clearOwnLocks, withInputs } from './steps/recover.ts';
import { refreshState } from './steps/refresh.ts';
import type { Inputs } from './steps/request.ts';
import { requireTrust } from './steps/verify.ts';

/** Ends what was asked for until now; what a person asked for meanwhile stays. The stack's row is locked. */
async function takeBack(trx: Transaction<Schema>, { id, accept_missing: done }: StackRow): Promise<void> {
  const now = (await lockStack(trx, id)).accept_missing;
  const urns = now?.urns.filter((urn) => done?.urns.includes(urn) !== true) ?? [];
  await patchStack(trx, id, { accept_missing: urns.length > 0 ? JSON.stringify({ ...now, urns }) : null });
}

/** Ends the request without touching the state, and says why. */
async function refuse(deps: WorkerDeps, lease: HeldLease, stack: StackRow, event: EventInput): Promise<void> {
  await record(deps, lease, {
    events: [{ severity: 'warning', ...event }],
    also: (trx) => takeBack(trx, stack),
  });
}

/** What became of the resources: one that exists after all was read anew and stays. */
function settled(stack: StackRow, before: Checkpoint, after: Checkpoint): StatusChange {
  const { urns = [], by = 'plumbline' } = stack.accept_missing ?? {};
  const left = before.resources - after.resources;
  const rest = left < urns.length ? `; ${urns.length - left} of them exist after all and stay` : '';
  const what = `${left} missing resources left the state${rest}`;
  const message = isDestroyed(stack) ? what : `${what}. The program still declares them, so they are planned anew`;
  return {
    ...planAgain(stack, what),
    events: [{ type: 'MissingLeftState', message, actor: by, data: { urns, left } }],
  };
}

async function carryOut(deps: WorkerDeps, lease: HeldLease, stack: StackRow, { request, principals }: Inputs) {
  const { urns = [], by = 'plumbline' } = stack.accept_missing ?? {};
  const elsewhere = otherPlace(stack.applied_principal, principals['plan']);
  if (elsewhere !== undefined) {
    const message = `nothing left the state: ${elsewhere}`;
    return await refuse(deps, lease, stack, {
      type: 'AcceptRefused',
      reason: 'CredentialsSuspect',
      message,
      actor: by,
    });
  }
  await clearOwnLocks(deps, stack, request);
  await checkState(deps, stack, request.identity, await deps.engine.checkpoint(request));
  const { before, after, patch } = await refreshState(deps, lease, stack, { ...request, targets: urns }, []);
  const change = settled(stack, before, after);
  await record(deps, lease, {
    ...change,
    stack: { ...change.stack, ...patch, drift_requested_seq: sql<number>`drift_requested_seq + 1` },
    also: (trx) => takeBack(trx, stack),
  });
}

async function begin(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<void> {
  await requireTrust(deps, stack, run, lease.signal);
  await withInputs(deps, lease, stack, run, (inputs) => carryOut(deps, lease, stack, inputs));
}

/**
 * Lets resources that a check reported as missing leave the state, by a person's word: a writing refresh of exactly these,
 * which looks again and keeps what exists. It starts plugins the artifact may have brought, so that has to be trusted still.
 * Nothing else is done for the stack meanwhile, so what cannot be done is refused rather than tried for ever.
 */
export async function acceptMissing(deps: WorkerDeps, lease: HeldLease, stack: StackRow): Promise<void> {
  const run: RunRow | undefined =
    stack.applied_run_id === null ? undefined : await getRunById(deps.db, stack.applied_run_id);
  const { by = 'plumbline' } = stack.accept_missing ?? {};
  if (run === undefined) {
    const message = 'nothing was ever applied, so nothing can be missing';
    return await refuse(deps, lease, stack, { type: 'AcceptRefused', message, actor: by });
  }
  try {
    await begin(deps, lease, stack, run);
  } catch (thrown) {
    const error = asReconcileError(thrown);
    if (error.reason === 'StateLocked' || error.reason === 'LeaseLost' || deps.shutdown.aborted) throw thrown;
    const message = `not carried out: ${error.message}. Ask again once that is put right`;
    await refuse(deps, lease, stack, { type: 'AcceptRefused', reason: error.reason, message, actor: by });
  }
}
