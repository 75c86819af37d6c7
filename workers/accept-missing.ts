import { otherPlace } from '#core/domain/drift-principal.ts';
import type { Checkpoint } from '#core/engine/port.ts';
import { sql } from 'kysely';
import { getRunById, type RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';
import type { HeldLease } from './lease.ts';
import { record, type EventInput } from './record.ts';
import { checkpointPatch } from './steps/checkpoint-patch.ts';
import { clearOwnLocks } from './steps/recover.ts';
import { refreshState } from './steps/refresh.ts';
import { gatherInputs, type Inputs } from './steps/request.ts';
import { requireTrust } from './steps/verify.ts';
import { fetchProgram, withWorkspace } from './steps/workspace.ts';

/** Ends the request without touching the state, and says why. */
async function refuse(deps: WorkerDeps, lease: HeldLease, event: EventInput): Promise<void> {
  await record(deps, lease, { stack: { accept_missing: null }, events: [{ severity: 'warning', ...event }] });
}

/** What became of the resources: one that exists after all was read anew and stays. */
function settled(urns: readonly string[], by: string, before: Checkpoint, after: Checkpoint): EventInput {
  const left = before.resources - after.resources;
  const rest = left < urns.length ? `; ${urns.length - left} of them exist after all and stay` : '';
  const message = `${left} missing resources left the state${rest}. The program still declares them, so they are planned anew`;
  return { type: 'MissingLeftState', message, actor: by, data: { urns, left } };
}

async function carryOut(deps: WorkerDeps, lease: HeldLease, stack: StackRow, { request, principals }: Inputs) {
  const { urns = [], by = 'plumbline' } = stack.accept_missing ?? {};
  const elsewhere = otherPlace(stack.applied_principal, principals['plan']);
  if (elsewhere !== undefined) {
    const message = `nothing left the state: ${elsewhere}`;
    return await refuse(deps, lease, { type: 'AcceptRefused', reason: 'CredentialsSuspect', message, actor: by });
  }
  await clearOwnLocks(deps, stack, request);
  const before = await deps.engine.checkpoint(request);
  const after = await refreshState(deps, lease, stack, { ...request, targets: urns }, []);
  const event = settled(urns, by, before, after);
  await record(deps, lease, {
    outcome: { type: 'progress', reason: 'Progressing', message: event.message },
    stack: {
      ...checkpointPatch(after),
      accept_missing: null,
      attempted_key: null,
      drift_requested_seq: sql<number>`drift_requested_seq + 1`,
    },
    events: [event],
  });
}

/**
 * Lets resources that a check reported as missing leave the state, by a person's word: a writing refresh of exactly these,
 * which looks again and keeps what exists. It starts plugins the artifact may have brought, so that has to be trusted still.
 */
export async function acceptMissing(deps: WorkerDeps, lease: HeldLease, stack: StackRow): Promise<void> {
  const run: RunRow | undefined =
    stack.applied_run_id === null ? undefined : await getRunById(deps.db, stack.applied_run_id);
  if (run === undefined) {
    const message = 'nothing was ever applied, so nothing can be missing';
    return await refuse(deps, lease, { type: 'AcceptRefused', message });
  }
  await requireTrust(deps, stack, run, lease.signal);
  const artifact = await fetchProgram(deps, stack, run, lease.signal);
  await withWorkspace(deps, run, artifact, lease.signal, async (scene) =>
    carryOut(deps, lease, stack, await gatherInputs(deps, lease, { stack, run, ...scene, phase: 'plan' })),
  );
}
