import { approvalNeeds, dangerOf } from '#core/domain/approval.ts';
import { showHealed } from '#core/domain/drift-shown.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { transient } from '#core/domain/errors.ts';
import {
  canonicalJson,
  planDigest,
  type BoundDocument,
  type PolicyReport,
  type ResourceChange,
} from '#core/domain/plan.ts';
import { mandatoryViolations, NO_POLICIES, sayViolations } from '#core/domain/policy.ts';
import { isWaiting, type RunState } from '#core/domain/run.ts';
import { outcomeOf } from '#core/domain/summarize.ts';
import { saySigners } from '#core/domain/verification.ts';
import type { PreviewResult } from '#core/engine/port.ts';
import { sealContext } from '#core/seal-context.ts';
import { seal } from '#core/secrets.ts';
import { clockPlus } from '#core/store/clock.ts';
import { listDrift } from '#core/store/drift.ts';
import { savePlan } from '#core/store/plans.ts';
import type { RunPatch, RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import { duringRun, type HeldLease } from '../lease.ts';
import { record, type EventInput } from '../record.ts';
import { plannedHealNeeds } from '../heal.ts';
import { checkState } from '../state-check.ts';
import type { Verified } from '../trust.ts';
import { approvalPolicy, bindPlan, requireBinding } from './bound.ts';
import { destroyedChange, planDestroy } from './destroy.ts';
import { withPolicyPacks, type RunPacks } from './policy-packs.ts';
import { clearOwnLocks } from './recover.ts';
import { refreshState } from './refresh.ts';
import { gatherInputs, type Inputs } from './request.ts';
import { requireTrust } from './verify.ts';
import { fetchProgram, withWorkspace, type RunScene } from './workspace.ts';

async function move(
  deps: WorkerDeps,
  lease: HeldLease,
  run: RunRow,
  from: RunState,
  to: RunState,
  message: string,
  patch: RunPatch = {},
) {
  const outcome = outcomeOf(to, message);
  await record(deps, lease, {
    run: { id: run.id, from, to, patch: { ...patch, message } },
    ...(outcome && { outcome }),
  });
}

async function refreshFirst(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow, inputs: Inputs) {
  if (run.trigger !== 'heal' && !stack.refresh_needed) return undefined;
  const targets = run.trigger === 'heal' ? run.targets : [];
  const { after, patch } = await refreshState(deps, lease, stack, { ...inputs.request, targets }, []);
  await record(deps, lease, {
    // What an interrupted run left is more than what drifted.
    stack: { ...patch, ...(targets.length === 0 && { refresh_needed: false }) },
    events: [
      {
        type: 'StateRefreshed',
        message:
          targets.length > 0
            ? `the state of ${targets.length} drifted resources was refreshed`
            : 'the state was refreshed after an interrupted run',
        data: { targets },
      },
    ],
  });
  return after;
}

/** A `same` with a difference changes an option that only the state holds, such as `protect`. */
function changedCount(changes: readonly ResourceChange[]): number {
  return changes.filter(({ op, diffs }) => dangerOf(op) !== 'none' || (op === 'same' && diffs.length > 0)).length;
}

function describe(preview: PreviewResult): string {
  const parts = Object.entries(preview.summary)
    .filter(([op, count]) => op !== 'same' && count > 0)
    .map(([op, count]) => `${count} ${op}`);
  return parts.length === 0 ? 'nothing to change' : parts.join(', ');
}

interface Planned {
  preview: PreviewResult;
  bound: BoundDocument;
  needs: string[];
  /** What a destroy would take; an update has its targets from the beginning. */
  targets?: string[];
}

type PlanEnd = 'planned' | 'policy_failed' | 'awaiting_approval' | 'approved';

const EVENTS: Record<PlanEnd, Pick<EventInput, 'type' | 'reason' | 'severity'>> = {
  planned: { type: 'NothingToDo' },
  policy_failed: { type: 'PolicyFailed', reason: 'PolicyViolated', severity: 'error' },
  awaiting_approval: { type: 'ApprovalNeeded' },
  approved: { type: 'PlanReady' },
};

/** A mandatory policy stops a plan whoever would have to approve it, also one that changes nothing. */
function endOfPlanning(policies: PolicyReport, changed: number, adopts: boolean, needs: readonly string[]): PlanEnd {
  if (mandatoryViolations(policies).length > 0) return 'policy_failed';
  // Taking over what somebody else made is a person's decision, also where nothing would change.
  if (changed === 0 && !adopts) return 'planned';
  return needs.length > 0 ? 'awaiting_approval' : 'approved';
}

function sayPlan(preview: PreviewResult, to: PlanEnd, digest: string): string {
  const what = describe(preview);
  if (to === 'awaiting_approval') return `${what}; waits for approval of ${digest}`;
  if (to !== 'policy_failed') return what;
  return `${what}; policies are violated: ${sayViolations(preview.policies ?? NO_POLICIES)}. Correct the program, or have ${digest} overridden with a reason`;
}

async function finishPlan(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  run: RunRow,
  planned: Planned,
): Promise<void> {
  const { preview, bound, needs, targets } = planned;
  const { policies = NO_POLICIES } = preview;
  const digest = planDigest(bound);
  const policy = approvalPolicy(run.spec);
  const changed = changedCount(preview.changes);
  const adopts = stack.checkpoint === null && bound.checkpoint !== 'absent' && run.operation !== 'destroy';
  const to = endOfPlanning(policies, changed, adopts, needs);
  const text = sayPlan(preview, to, digest);
  const gone =
    to === 'planned' && run.operation === 'destroy'
      ? destroyedChange(stack, run, 'nothing was left to destroy')
      : undefined;
  const outcome = gone?.outcome ?? outcomeOf(to, text);
  const event: EventInput = {
    ...EVENTS[to],
    message: `run ${run.number}: ${text}`,
    data: { run: run.number, digest: run.digest, planDigest: digest, summary: preview.summary, needs },
  };
  const done = gone?.stack ?? (to === 'planned' ? { ...settled(run, bound), failures: 0 } : {});
  await record(deps, lease, {
    run: {
      id: run.id,
      from: 'planning',
      to,
      patch: {
        message: text,
        plan_digest: digest,
        summary: JSON.stringify(preview.summary),
        needs: JSON.stringify(needs),
        approvals_required: policy.required,
        reason: EVENTS[to].reason ?? null,
        expires_at: isWaiting(to) ? clockPlus(parseDuration(policy.expires)) : null,
        ...(targets !== undefined && { targets: JSON.stringify(targets) }),
      },
    },
    ...(outcome && { outcome }),
    stack: { ...done, ...(isAtHome(stack, bound) && { rebind_by: null }) },
    ...(gone?.conditions && { conditions: gone.conditions }),
    events: [event],
    also: async (trx) => {
      await gone?.also?.(trx);
      await savePlan(trx, {
        tenant: run.tenant,
        runId: run.id,
        planDigest: digest,
        bound,
        changes: preview.changes,
        policies,
        bytes: seal(deps.masterKey, preview.plan, sealContext.plan(run)),
      });
    },
  });
}

/** The state is where it always was, so a word that it may move is used up. */
function isAtHome(stack: StackRow, bound: BoundDocument): boolean {
  return stack.identity !== null && canonicalJson(stack.identity) === canonicalJson(bound.identity);
}

/** A plan without changes on a state that exists means: this revision is what the world already has. */
function settled(run: RunRow, bound: BoundDocument) {
  if (bound.checkpoint === 'absent' || run.trigger === 'heal') return {};
  return {
    applied_digest: run.digest,
    applied_revision: run.revision,
    applied_generation: run.generation,
    applied_run_id: run.id,
    identity: JSON.stringify(bound.identity),
    checkpoint: bound.checkpoint,
    rebind_by: null,
  };
}

async function preview(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  run: RunRow,
  { workspace, onOutput }: RunScene,
  { verified, packs }: { verified: Verified; packs: RunPacks },
): Promise<Planned> {
  const gathered = await gatherInputs(deps, lease, { stack, run, workspace, phase: 'plan', onOutput });
  const inputs = { ...gathered, request: packs.request(gathered.request) };
  await clearOwnLocks(deps, stack, inputs.request);
  await requireBinding(deps, run);
  const { identity } = inputs.request;
  const found = await deps.engine.checkpoint(inputs.request);
  const concerns = await checkState(deps, stack, identity, found);
  const checked = (await refreshFirst(deps, lease, stack, run, inputs)) ?? found;
  const destroying = run.operation === 'destroy' ? await planDestroy(deps, inputs) : undefined;
  const planned = destroying?.preview ?? (await deps.engine.preview(inputs.request));
  const result =
    run.trigger === 'heal'
      ? { ...planned, changes: showHealed(planned.changes, await listDrift(deps.db, stack.id)) }
      : planned;
  const shown = {
    planHash: result.planHash,
    changes: result.changes,
    summary: result.summary,
    unknowns: result.unknowns,
    policies: result.policies ?? NO_POLICIES,
  };
  const targets = destroying?.urns ?? run.targets;
  const bound = await bindPlan(deps, { stack, run: { ...run, targets }, workspace, inputs, verified, packs }, shown);
  // What a person has to know was said of the state that was looked at.
  if (bound.checkpoint !== checked.hash)
    throw transient('PlanStale', 'something wrote the state while it was planned; it is planned again');
  const exceptions = [
    ...(inputs.sharedCredentials ? ['plan and apply share one credential'] : []),
    ...(verified.state === 'unsigned' ? ['nobody signed what is applied'] : []),
  ];
  if (destroying !== undefined)
    return { preview: result, bound, targets, needs: [...destroying.needs, ...concerns, ...exceptions] };
  const policy = approvalPolicy(run.spec);
  const destructive = approvalNeeds({ ...policy, mode: 'on-destructive' }, result.changes, []);
  // A rollback that takes something away is a person's decision in every mode (design, Going back).
  const forced = run.operation === 'rollback' && policy.mode === 'auto' ? destructive : [];
  const needs = approvalNeeds(policy, result.changes, [...forced, ...concerns, ...plannedHealNeeds(run)]);
  return { preview: result, bound, needs: needs.length > 0 ? [...needs, ...exceptions] : [] };
}

/** Takes a pending run through verifying, fetching and planning to a plan that is done, waits, or may be applied. */
export async function planRun(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<void> {
  await duringRun(deps, lease, run, async () => {
    await move(deps, lease, run, 'pending', 'verifying', `looking who signed ${run.revision}`);
    const verified = await requireTrust(deps, stack, run, lease.signal);
    await move(deps, lease, run, 'verifying', 'fetching', `fetching ${run.revision}`, { signed: saySigners(verified) });
    const artifactDir = await fetchProgram(deps, stack, run, lease.signal);
    await withWorkspace(deps, run, artifactDir, lease.signal, async (scene) => {
      await move(deps, lease, run, 'fetching', 'planning', `previewing ${run.revision}`);
      const at = { run, workspace: scene.workspace, artifact: artifactDir, signal: lease.signal };
      const planned = await withPolicyPacks(deps, at, (packs) =>
        preview(deps, lease, stack, run, scene, { verified, packs }),
      );
      await finishPlan(deps, lease, stack, run, planned);
    });
  });
}
