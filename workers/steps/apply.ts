import { sql } from 'kysely';
import { bindingOf } from '#core/domain/approval.ts';
import { asReconcileError, type ReconcileError } from '#core/domain/errors.ts';
import {
  boundDifferences,
  operationDifferences,
  planDigest,
  type BoundDifference,
  type BoundDocument,
} from '#core/domain/plan.ts';
import { outcomeOf } from '#core/domain/summarize.ts';
import { isTrusted } from '#core/domain/verification.ts';
import { planFileHash } from '#core/engine/plan-file.ts';
import type { ApplyResult } from '#core/engine/port.ts';
import { sealContext } from '#core/seal-context.ts';
import { open } from '#core/secrets.ts';
import { clock } from '#core/store/clock.ts';
import { listDrift, recordHeals } from '#core/store/drift.ts';
import { openCreates } from '#core/store/open-creates.ts';
import { getPlan, type PlanRow } from '#core/store/plans.ts';
import { isOverridden } from '#core/store/overrides.ts';
import { markApplied } from '#core/store/revisions.ts';
import { getRunById, type RunRow } from '#core/store/runs.ts';
import { getStackById, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import { duringRun, type HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { checkSignatures, type Verified } from '../trust.ts';
import { allowsBinding, bindPlan } from './bound.ts';
import { checkpointPatch, leftByApply } from './checkpoint-patch.ts';
import { afterFailure, destroyPlanHash, finishDestroy } from './destroy.ts';
import { failRun } from './fail.ts';
import { leftState } from './left-state.ts';
import { withPolicyPacks, type RunPacks } from './policy-packs.ts';
import { clearOwnLocks } from './recover.ts';
import { gatherInputs, type Inputs } from './request.ts';
import { handleViolation, makeStale } from './stale.ts';
import { fetchProgram, withWorkspace, type RunScene, type Workspace } from './workspace.ts';

function say(difference: BoundDifference): string {
  return `${difference.path} was ${difference.approved} when approved and is now ${difference.now}`;
}

function untrusted(verified: Verified): string {
  return `the signatures no longer meet the policy: ${verified.message}`;
}

interface Approved {
  run: RunRow;
  plan: PlanRow;
  bytes: Buffer;
  /** Of the bytes as they are now. */
  planHash: string;
}

/** The approved plan, or why its row is not what was approved: a plan that was cut, edited or swapped is never run. */
async function loadApproved(deps: WorkerDeps, run: RunRow): Promise<Approved | string> {
  const plan = await getPlan(deps.db, run.id);
  if (plan === undefined) return 'the approved plan is gone';
  try {
    const bytes = open(deps.masterKey, plan.bytes, sealContext.plan(run));
    const planHash = run.operation === 'destroy' ? destroyPlanHash(bytes) : planFileHash(bytes);
    return { run, plan, bytes, planHash };
  } catch (error) {
    deps.logger.error({ err: error, run: run.id, reason: 'PlanStale' }, 'the approved plan cannot be read');
    return 'the stored update plan was cut, edited or sealed with another key, so it is not the approved one';
  }
}

/** The differences between what was approved and what is true now, with the saved plan's bytes among them. */
async function differences(
  deps: WorkerDeps,
  lease: HeldLease,
  approved: Approved,
  workspace: Workspace,
  { inputs, packs }: { inputs: Inputs; packs: RunPacks },
): Promise<string[]> {
  const { run, plan, planHash } = approved;
  const stack = await getStackById(deps.db, run.stack_id);
  if (stack === undefined) return ['the stack was deleted'];
  // Secrets and spec are read anew: a rotated credential is a difference.
  const fresh = await gatherInputs(deps, lease, { stack, run, workspace, phase: 'apply', onOutput: () => undefined });
  const verified = await checkSignatures(deps, { ...run, policyOf: stack.spec }, lease.signal);
  if (!isTrusted(verified)) return [untrusted(verified)];
  const now: BoundDocument = await bindPlan(
    deps,
    { stack, run, workspace, inputs: { ...fresh, request: inputs.request }, verified, packs },
    {
      planHash,
      changes: plan.changes,
      summary: plan.bound.summary,
      unknowns: plan.bound.unknowns,
      policies: plan.policies,
    },
  );
  const found = boundDifferences(plan.bound, now).map(say);
  const approvedDigest = run.plan_digest;
  if (found.length === 0 && planDigest(plan.bound) !== approvedDigest)
    found.push('the stored plan is not the approved one');
  if (stack.spec.suspend === true) found.push('the stack was suspended');
  if (!(await isOverridden(deps.db, run, plan.bound))) found.push('nobody overrode the policies that are violated');
  if (!(await allowsBinding(deps, run))) found.push(`the tenant no longer allows binding: ${bindingOf(run.spec)}`);
  return found;
}

async function finishApply(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  approved: Approved,
  result: ApplyResult,
) {
  const { run, plan } = approved;
  const text = `run ${run.number}: ${run.revision} applied`;
  const outcome = outcomeOf('applied', text);
  const healed =
    run.trigger === 'heal' ? (await listDrift(deps.db, stack.id)).filter((item) => run.targets.includes(item.urn)) : [];
  const desired =
    run.trigger === 'heal'
      ? {}
      : {
          applied_digest: run.digest,
          applied_revision: run.revision,
          applied_generation: run.generation,
          applied_run_id: run.id,
        };
  await record(deps, lease, {
    run: {
      id: run.id,
      from: ['applying', 'interrupting'],
      to: 'applied',
      patch: { message: text, summary: JSON.stringify(result.summary) },
    },
    ...(outcome && { outcome }),
    stack: {
      ...desired,
      applied_at: clock(),
      applied_principal: plan.bound.principals?.['apply'] ?? null,
      identity: JSON.stringify(plan.bound.identity),
      rebind_by: null,
      ...checkpointPatch(result.checkpoint),
      // A healed stack is checked again; a heal says nothing about the attempts at a newer revision.
      ...(run.trigger === 'heal' ? { drift_requested_seq: sql<number>`drift_requested_seq + 1` } : { failures: 0 }),
    },
    events: [
      {
        type: run.trigger === 'heal' ? 'DriftHealed' : run.operation === 'rollback' ? 'RolledBack' : 'Applied',
        reason: 'Applied',
        message: text,
        data: { run: run.number, digest: run.digest, planDigest: run.plan_digest, summary: result.summary },
      },
    ],
    also: async (trx) => {
      if (run.trigger !== 'heal') await markApplied(trx, { stackId: stack.id, digest: run.digest });
      await recordHeals(trx, { tenant: stack.tenant, stackId: stack.id, items: healed });
    },
  });
}

/** After a failed apply: what is in the state now, and whether a person must decide on pending operations. */
async function failApply(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  approved: Approved,
  inputs: Inputs,
  error: ReconcileError,
) {
  const { run, plan } = approved;
  const checkpoint = await leftState(deps, inputs.request);
  await failRun(deps, lease, run, ['applying', 'interrupting'], error, {
    ...(checkpoint.hash !== 'absent' && { identity: JSON.stringify(plan.bound.identity), rebind_by: null }),
    ...leftByApply({ stack, run, plan }, checkpoint, await openCreates(deps.db, run.stack_id)),
    ...afterFailure(run, plan.bound.checkpoint, checkpoint),
    refresh_needed: true,
  });
}

async function sayApplying(deps: WorkerDeps, lease: HeldLease, run: RunRow): Promise<void> {
  const doing = run.operation === 'destroy' ? `destroying ${run.targets.length} resources` : `applying ${run.revision}`;
  const message = `run ${run.number}: ${doing}`;
  await record(deps, lease, {
    run: { id: run.id, from: 'approved', to: 'applying', patch: { message: doing } },
    outcome: { type: 'progress', reason: 'Progressing', message },
    events: [
      {
        type: run.operation === 'destroy' ? 'DestroyStarted' : 'ApplyStarted',
        message,
        data: { run: run.number, digest: run.digest, planDigest: run.plan_digest },
      },
    ],
  });
}

/** The engine is asked to stop, politely first; what it did until then is found out when it is gone. */
function sayInterrupting(deps: WorkerDeps, lease: HeldLease, run: RunRow): void {
  const message = `run ${run.number}: interrupting the apply of ${run.revision}`;
  record(deps, lease, {
    run: { id: run.id, from: 'applying', to: 'interrupting', patch: { message } },
    events: [
      { type: 'ApplyInterrupting', reason: 'Interrupted', severity: 'warning', message, data: { run: run.number } },
    ],
    // The apply may have ended in the same moment, or the lease may be what was lost: then there is nothing to say.
  }).catch((error: unknown) => deps.logger.info({ err: error, run: run.id }, 'the interrupt was not written down'));
}

/**
 * What the engine is to be bound to. Where an approval holds operations and paths, that is a plan made now, under our lease,
 * and compared with the approved one before anything is applied: what is compared is what the engine may do, no more.
 */
async function planToApply(
  deps: WorkerDeps,
  { run, plan, bytes }: Approved,
  inputs: Inputs,
): Promise<{ bytes: Buffer; found: string[] }> {
  if (run.operation === 'destroy' || bindingOf(run.spec) === 'plan') return { bytes, found: [] };
  const fresh = await deps.engine.preview(inputs.request);
  return { bytes: fresh.plan, found: operationDifferences(plan.changes, fresh.changes).map(say) };
}

/** Has the engine do what was approved, and nothing else. */
async function execute(
  deps: WorkerDeps,
  { run }: Approved,
  inputs: Inputs,
  at: { plan: Buffer; gate: () => Promise<string[]> },
): Promise<ApplyResult> {
  if (run.operation !== 'destroy') return await deps.engine.apply({ ...inputs.request, ...at });
  return await deps.engine.destroy({ ...inputs.request, gate: at.gate });
}

async function runApply(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  approved: Approved,
  { workspace, onOutput }: RunScene,
  packs: RunPacks,
) {
  const { run, plan } = approved;
  const gathered = await gatherInputs(deps, lease, { stack, run, workspace, phase: 'apply', onOutput });
  const policyOverrides = plan.bound.policies?.overridden ?? [];
  const inputs = { ...gathered, request: { ...packs.request(gathered.request), policyOverrides } };
  let gateFound: string[] = [];
  const interrupted = () => sayInterrupting(deps, lease, run);
  try {
    await clearOwnLocks(deps, stack, inputs.request);
    const found = await differences(deps, lease, approved, workspace, { inputs, packs });
    if (found.length > 0) return await makeStale(deps, lease, run, 'approved', found);
    const bound = await planToApply(deps, approved, inputs);
    if (bound.found.length > 0) return await makeStale(deps, lease, run, 'approved', bound.found);
    await sayApplying(deps, lease, run);
    inputs.request.signal.addEventListener('abort', interrupted, { once: true });
    const gate = async () => (gateFound = await differences(deps, lease, approved, workspace, { inputs, packs }));
    const result = await execute(deps, approved, inputs, { plan: bound.bytes, gate });
    if (run.operation === 'destroy') return await finishDestroy(deps, lease, stack, run, result);
    return await finishApply(deps, lease, stack, approved, result);
  } catch (thrown) {
    const error = asReconcileError(thrown);
    if (error.reason === 'LeaseLost') throw error;
    const now = await getRunById(deps.db, run.id);
    if (now?.state === 'interrupting') return await failApply(deps, lease, stack, approved, inputs, error);
    if (now?.state !== 'applying') throw error;
    if (gateFound.length > 0) return await makeStale(deps, lease, run, 'applying', gateFound);
    if (error.reason === 'PlanStale') return await handleViolation(deps, lease, run, error);
    return await failApply(deps, lease, stack, approved, inputs, error);
  } finally {
    inputs.request.signal.removeEventListener('abort', interrupted);
  }
}

/** Applies exactly the plan that was approved, or makes the run stale and says what differs. */
export async function applyRun(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<void> {
  await duringRun(deps, lease, run, async () => {
    const approved = await loadApproved(deps, run);
    if (typeof approved === 'string') return await makeStale(deps, lease, run, 'approved', [approved]);
    const verified = await checkSignatures(deps, { ...run, policyOf: stack.spec }, lease.signal);
    if (!isTrusted(verified)) return await makeStale(deps, lease, run, 'approved', [untrusted(verified)]);
    const artifactDir = await fetchProgram(deps, stack, run, lease.signal);
    await withWorkspace(deps, run, artifactDir, lease.signal, async (scene) => {
      const at = { run, workspace: scene.workspace, artifact: artifactDir, signal: lease.signal };
      await withPolicyPacks(deps, at, (packs) => runApply(deps, lease, stack, approved, scene, packs));
    });
  });
}
