import { suspectsCredentials } from '#core/domain/drift.ts';
import { otherPlace } from '#core/domain/drift-principal.ts';
import { findings, type Finding } from '#core/domain/drift-report.ts';
import { stalled, transient } from '#core/domain/errors.ts';
import type { StateIdentity } from '#core/domain/plan.ts';
import { saySigners } from '#core/domain/verification.ts';
import type { Checkpoint, DriftItem } from '#core/engine/port.ts';
import { listDrift } from '#core/store/drift.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';
import type { HeldLease } from './lease.ts';
import { record } from './record.ts';
import { foreignCode, isAnsweredFor } from './state-check.ts';
import { gatherInputs, type Inputs } from './steps/request.ts';
import { requireTrust } from './steps/verify.ts';
import { fetchProgram, withWorkspace } from './steps/workspace.ts';

const CHECK_THEM =
  'Check the plan credentials, account and region before anything is believed, let alone taken out of the state';

/** What a check saw, before rules and history say what it means. */
export interface Seen {
  items: DriftItem[];
  noise: number;
  /** Why the live world was not looked at. */
  unseen?: string;
}

/** Whose state was written since our last record, by something we know nothing of. */
function stateMoved(stack: StackRow, identity: StateIdentity, now: Checkpoint): DriftItem[] {
  const recorded = stack.checkpoint;
  if (recorded === null || isAnsweredFor(stack, now)) return [];
  const type = 'pulumi:pulumi:Stack';
  const { project, stack: name } = identity;
  return [
    {
      urn: `urn:pulumi:${name}::${project}::${type}::${project}-${name}`,
      type,
      path: '',
      kind: 'state-moved',
      before: { checkpoint: recorded, resources: stack.checkpoint_resources },
      after: { checkpoint: now.hash, resources: now.resources, by: 'unknown', since: 'unknown' },
    },
  ];
}

/** Looks with the engine, unless what it would see is not the world that was applied to. */
async function inspect(deps: WorkerDeps, stack: StackRow, { request, principals }: Inputs): Promise<Seen> {
  const elsewhere = otherPlace(stack.applied_principal, principals['plan']);
  if (elsewhere !== undefined) throw stalled('CredentialsSuspect', `${elsewhere}; nothing was compared. ${CHECK_THEM}`);
  const before = await deps.engine.checkpoint(request);
  if (before.hash === 'absent')
    throw stalled('StateRegressed', `the state of ${stack.name} is gone; restore it from a backup`);
  const moved = stateMoved(stack, request.identity, before);
  // A refresh runs the code of dynamic resources, which is the state's.
  const unseen = foreignCode(stack, before);
  if (unseen !== undefined) return { items: moved, noise: 0, unseen };
  const result = await deps.engine.drift({ ...request, runProgram: stack.spec.drift?.runProgram === true });
  const after = await deps.engine.checkpoint(request);
  if (after.hash !== before.hash)
    throw transient('DriftDiscarded', 'the state moved during the drift check; it is made again');
  if (suspectsCredentials(result)) {
    throw stalled(
      'CredentialsSuspect',
      `more than a fifth of ${result.resources} resources seem missing, which is not believed. ${CHECK_THEM}`,
    );
  }
  return { items: [...moved, ...result.items], noise: result.noise ?? 0 };
}

/** Compares the live world and the program with the state; the result is void if the state moved meanwhile. */
export async function look(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<Seen> {
  const verified = await requireTrust(deps, stack, run, lease.signal);
  const signed = saySigners(verified);
  await record(deps, lease, { run: { id: run.id, from: 'verifying', to: 'fetching', patch: { signed } } });
  const artifact = await fetchProgram(deps, stack, run, lease.signal);
  return await withWorkspace(deps, run, artifact, lease.signal, async (scene) => {
    await record(deps, lease, { run: { id: run.id, from: 'fetching', to: 'planning' } });
    const inputs = await gatherInputs(deps, lease, { stack, run, ...scene, phase: 'plan' });
    return await inspect(deps, stack, inputs);
  });
}

/** What a check found, as it may be kept and shown. */
export async function judge(deps: WorkerDeps, stack: StackRow, seen: Seen, now: Date): Promise<Finding[]> {
  const known = await listDrift(deps.db, stack.id);
  return findings(seen.items, { known, rules: stack.spec.drift?.ignore ?? [], now });
}
