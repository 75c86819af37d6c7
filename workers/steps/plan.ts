import { approvalNeeds } from '#core/domain/approval.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { stalled } from '#core/domain/errors.ts';
import { planDigest, type BoundDocument, type ResourceChange } from '#core/domain/plan.ts';
import type { RunState } from '#core/domain/run.ts';
import { outcomeOf } from '#core/domain/summarize.ts';
import { saySigners } from '#core/domain/verification.ts';
import type { Checkpoint, PreviewResult } from '#core/engine/port.ts';
import { seal } from '#core/secrets.ts';
import { clockPlus } from '#core/store/clock.ts';
import { savePlan } from '#core/store/plans.ts';
import type { RunPatch, RunRow } from '#core/store/runs.ts';
import { stackWithIdentity, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import { duringRun, type HeldLease } from '../lease.ts';
import { record, type EventInput } from '../record.ts';
import type { Verified } from '../trust.ts';
import { approvalPolicy, bindPlan } from './bound.ts';
import { checkpointPatch } from './checkpoint-patch.ts';
import { clearOwnLocks } from './recover.ts';
import { gatherInputs, type Inputs } from './request.ts';
import { requireTrust } from './verify.ts';
import { fetchProgram, withWorkspace, type RunScene } from './workspace.ts';

/** Sealed plans are bound to their run, so that a row cannot be swapped for another's. */
export function planContext(run: { tenant: string; id: string }): string {
  return `plan/${run.tenant}/${run.id}`;
}

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

/** Refuses a state that is not the one this stack owns (rule 8). Returns what a person should know about it. */
async function checkState(deps: WorkerDeps, stack: StackRow, inputs: Inputs, now: Checkpoint): Promise<string[]> {
  const wanted = inputs.request.identity;
  const frozen = stack.identity;
  if (frozen !== null) {
    const moved = (['backend', 'organization', 'project', 'stack'] as const).filter(
      (part) => frozen[part] !== wanted[part],
    );
    if (moved.length > 0) {
      const change = moved.map((part) => `${part} was ${frozen[part]} and is now ${wanted[part]}`).join(', ');
      throw stalled(
        'IdentityChanged',
        `the state of ${stack.name} would move: ${change}. Restore it, or make a new Stack`,
      );
    }
  }
  const owner = await stackWithIdentity(deps.db, wanted);
  if (owner !== undefined && owner.id !== stack.id) {
    throw stalled(
      'IdentityChanged',
      `the state ${wanted.project}/${wanted.stack} belongs to another Stack of this installation; use another spec.pulumi.stack`,
    );
  }
  if (stack.checkpoint === null || stack.checkpoint_resources === null) return [];
  // A first apply that failed early may have left no state at all: nothing is lost then.
  const hadState = stack.checkpoint !== 'absent';
  if (hadState && (now.hash === 'absent' || now.resources < stack.checkpoint_resources)) {
    throw stalled(
      'StateRegressed',
      `the state of ${stack.name} holds ${now.resources} resources, ${stack.checkpoint_resources} after the last run; restore it from a backup before anything is planned`,
    );
  }
  return now.hash === stack.checkpoint
    ? []
    : ['the state was changed by something other than Plumbline since the last run'];
}

async function refreshFirst(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow, inputs: Inputs) {
  if (run.trigger !== 'heal' && !stack.refresh_needed) return undefined;
  const targets = run.trigger === 'heal' ? run.targets : [];
  const checkpoint = await deps.engine.refresh({ ...inputs.request, targets }, []);
  await record(deps, lease, {
    stack: { ...checkpointPatch(checkpoint), refresh_needed: false },
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
  return checkpoint;
}

function changedCount(changes: readonly ResourceChange[]): number {
  return changes.filter((change) => change.op !== 'same' && change.op !== 'read').length;
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
}

async function finishPlan(deps: WorkerDeps, lease: HeldLease, run: RunRow, planned: Planned): Promise<void> {
  const { preview, bound, needs } = planned;
  const digest = planDigest(bound);
  const policy = approvalPolicy(run.spec);
  const changed = changedCount(preview.changes);
  const to: RunState = changed === 0 ? 'planned' : needs.length > 0 ? 'awaiting_approval' : 'approved';
  const text = `${describe(preview)}${to === 'awaiting_approval' ? `; waits for approval of ${digest}` : ''}`;
  const outcome = outcomeOf(to, text);
  const event: EventInput = {
    type: to === 'awaiting_approval' ? 'ApprovalNeeded' : to === 'planned' ? 'NothingToDo' : 'PlanReady',
    message: `run ${run.number}: ${text}`,
    data: { run: run.number, digest: run.digest, planDigest: digest, summary: preview.summary, needs },
  };
  const done = to === 'planned' ? settled(run, bound) : {};
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
        expires_at: to === 'awaiting_approval' ? clockPlus(parseDuration(policy.expires)) : null,
      },
    },
    ...(outcome && { outcome }),
    stack: { ...done, ...(to === 'planned' && { failures: 0 }) },
    events: [event],
    also: async (trx) => {
      await savePlan(trx, {
        tenant: run.tenant,
        runId: run.id,
        planDigest: digest,
        bound,
        changes: preview.changes,
        bytes: seal(deps.masterKey, preview.plan, planContext(run)),
      });
    },
  });
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
  };
}

async function preview(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  run: RunRow,
  { workspace, onOutput }: RunScene,
  verified: Verified,
): Promise<Planned> {
  const inputs = await gatherInputs(deps, lease, { stack, run, workspace, phase: 'plan', onOutput });
  await clearOwnLocks(deps, stack, inputs.request);
  const concerns = await checkState(deps, stack, inputs, await deps.engine.checkpoint(inputs.request));
  await refreshFirst(deps, lease, stack, run, inputs);
  const result = await deps.engine.preview(inputs.request);
  const shown = {
    planHash: result.planHash,
    changes: result.changes,
    summary: result.summary,
    unknowns: result.unknowns,
  };
  const bound = await bindPlan(deps, { stack, run, workspace, inputs, verified }, shown);
  const policy = approvalPolicy(run.spec);
  const destructive = approvalNeeds({ ...policy, mode: 'on-destructive' }, result.changes, []);
  // A rollback that takes something away is a person's decision in every mode (design, Going back).
  const forced = run.operation === 'rollback' && policy.mode === 'auto' ? destructive : [];
  const shared = inputs.sharedCredentials && policy.mode !== 'auto' ? ['plan and apply share one credential'] : [];
  const unsigned = verified.state === 'unsigned' ? ['nobody signed what is applied'] : [];
  const needs = approvalNeeds(policy, result.changes, [...forced, ...concerns]);
  return { preview: result, bound, needs: needs.length > 0 ? [...needs, ...shared, ...unsigned] : [] };
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
      await finishPlan(deps, lease, run, await preview(deps, lease, stack, run, scene, verified));
    });
  });
}
