import type { Transaction } from 'kysely';
import { ReconcileError, transient } from '#core/domain/errors.ts';
import { isWaiting, type RunState } from '#core/domain/run.ts';
import type { GuardHooks } from '#core/engine/port.ts';
import { maskWhole, type Scrubber } from '#core/scrubber.ts';
import { acquireLease, assertLease, recordNamespace, releaseLease, renewLease } from '#core/store/leases.ts';
import { noteOpenCreate } from '#core/store/open-creates.ts';
import { getRunById, liveRun } from '#core/store/runs.ts';
import type { Lane, PendingOperation, Schema } from '#core/store/schema.ts';
import type { WorkerDeps } from './deps.ts';

/** What a program did not mark as secret is masked as what it did: both are put back from the approved plan. */
function maskInputs(scrubber: Scrubber, { resource, ...operation }: PendingOperation): PendingOperation {
  if (resource === undefined) return operation;
  return { ...operation, resource: { ...resource, inputs: maskWhole(scrubber, resource['inputs']) } };
}

/** A held lease: renewed by itself until `release`, and the source of the guardian's deadline. */
export interface HeldLease {
  stackId: string;
  lane: Lane;
  fence: number;
  /** Aborted when the lease is lost, the worker stops or a person cancels the watched run. */
  readonly signal: AbortSignal;
  /** Names the run whose cancel request the renewals watch for; what is done after it has a signal of its own. */
  watch(runId: string | undefined): void;
  /** Ends what is done under a `drift` lease, because a run of the stack is to begin. */
  giveWay(): void;
  guard(runId: string): GuardHooks;
  /** Locks the lease row in a status transaction; throws `LeaseLost` when it is no longer ours. */
  assert(trx: Transaction<Schema>): Promise<void>;
  release(): Promise<void>;
}

export type LeaseAttempt =
  | { outcome: 'acquired'; lease: HeldLease }
  | { outcome: 'held' }
  | { outcome: 'holder-unknown'; workerId: string; since: Date };

/** Share of the lease that is kept back, so that a run is dead before another worker may start. */
const MARGIN = 0.25;

function hold(deps: WorkerDeps, stackId: string, lane: Lane, fence: number): HeldLease {
  const ttlMs = deps.config.PLUMBLINE_LEASE_SECONDS * 1000;
  const lost = new AbortController();
  let deadline = performance.now() + ttlMs * (1 - MARGIN);
  let watched: string | undefined;
  let cancel = new AbortController();
  const renew = async () => {
    const asked = performance.now();
    const remaining = await renewLease(deps.db, { stackId, lane, fence, ttlMs });
    // Counted from before the question, so that a slow answer never lengthens the run's life.
    deadline = asked + remaining - ttlMs * MARGIN;
    // Taken before the question: its answer must not cancel the run that is watched next.
    const [runId, canceling] = [watched, cancel];
    const run = runId === undefined ? undefined : await getRunById(deps.db, runId);
    if (run?.cancel_requested_by) canceling.abort(canceled(run.cancel_requested_by));
    // Another worker's run: one of this worker's calls `giveWay` at once.
    if (lane === 'drift' && isBusy(await liveRun(deps.db, stackId))) canceling.abort(madeWay());
  };
  const timer = setInterval(() => {
    renew().catch((error: unknown) => {
      deps.logger.warn({ err: error, stackId, lane }, 'lease not renewed');
      if (error instanceof ReconcileError && error.reason === 'LeaseLost') lost.abort(error);
    });
  }, ttlMs / 4);
  const scope = { stackId, lane, fence };
  return {
    ...scope,
    get signal() {
      return AbortSignal.any([lost.signal, cancel.signal, deps.shutdown]);
    },
    watch: (runId) => {
      watched = runId;
      cancel = new AbortController();
    },
    giveWay: () => cancel.abort(madeWay()),
    guard: (runId) => ({
      started: (pidNamespace) => recordNamespace(deps.db, { ...scope, pidNamespace: pidNamespace ?? 'none', runId }),
      ended: () => recordNamespace(deps.db, { ...scope, pidNamespace: null, runId }),
      remainingMs: () => deadline - performance.now(),
      leftOpen: (operation) => noteOpenCreate(deps.db, scope, maskInputs(deps.scrubber, operation)),
    }),
    assert: (trx) => assertLease(trx, scope),
    release: async () => {
      clearInterval(timer);
      await releaseLease(deps.db, scope);
    },
  };
}

/**
 * Runs `act` for a real run: a drift check of the stack makes way, and a cancel request for the run aborts the lease's signal
 * until `act` ends, however it ends.
 */
export async function duringRun(
  deps: WorkerDeps,
  lease: HeldLease,
  run: { id: string; stack_id: string },
  act: () => Promise<void>,
): Promise<void> {
  lease.watch(run.id);
  deps.driftChecks.get(run.stack_id)?.giveWay();
  try {
    await act();
  } finally {
    lease.watch(undefined);
  }
}

/** Whether a run keeps the machine and the world busy; one that waits for a person does not. */
export function isBusy(run: { state: RunState } | undefined): boolean {
  return run !== undefined && !isWaiting(run.state);
}

function madeWay(): ReconcileError {
  return transient('DriftDiscarded', 'a run of the stack began during the drift check; it is made again afterwards');
}

function canceled(by: string): ReconcileError {
  return new ReconcileError({ kind: 'stalled', reason: 'Canceled', message: `canceled by ${by}` });
}

/** Takes the lease of a stack's lane, or says who has it. A dead holder is taken over only with proof of its death. */
export async function takeLease(deps: WorkerDeps, stackId: string, lane: Lane): Promise<LeaseAttempt> {
  const attempt = await acquireLease(deps.db, {
    stackId,
    lane,
    tenant: deps.identity.tenant,
    workerId: deps.identity.id,
    bootId: deps.identity.bootId,
    workerPidns: deps.identity.pidNamespace,
    ttlMs: deps.config.PLUMBLINE_LEASE_SECONDS * 1000,
    proveDead: deps.proveDead,
  });
  switch (attempt.outcome) {
    case 'held':
      return { outcome: 'held' };
    case 'holder-unknown':
      return { outcome: 'holder-unknown', workerId: attempt.previous.worker_id, since: attempt.previous.expires_at };
    case 'acquired':
      return { outcome: 'acquired', lease: hold(deps, stackId, lane, attempt.fence) };
    default:
      throw new Error('unknown lease outcome');
  }
}
