import { sql } from 'kysely';
import { DESTROYED_KEY, destroyedKey } from '#core/domain/decide.ts';
import { canonicalJson, digestOf } from '#core/domain/plan.ts';
import type { Outcome } from '#core/domain/summarize.ts';
import type { ApplyResult, Checkpoint, PreviewResult } from '#core/engine/port.ts';
import { clock } from '#core/store/clock.ts';
import { replaceDrift } from '#core/store/drift.ts';
import type { RunRow } from '#core/store/runs.ts';
import { isDestroyed, UNLESS_DESTROYED, type StackPatch, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record, type StatusChange } from '../record.ts';
import { checkpointPatch } from './checkpoint-patch.ts';
import type { Inputs } from './request.ts';

/** What a destroy has in place of an update plan: the resources it may take, by name. */
export interface DestroyPlan {
  preview: PreviewResult;
  urns: string[];
  needs: string[];
}

/** As people count them in the list of changes, which leaves out the providers that the engine made by itself. */
function counted(listed: number, all: number): string {
  const own = all - listed;
  return `${listed} resources${own > 0 ? ` and ${own} that the engine made by itself` : ''}`;
}

/** Looks at what a destroy would take; nothing is executed. The list of URNs stands in for the plan's bytes. */
export async function planDestroy(deps: WorkerDeps, inputs: Inputs): Promise<DestroyPlan> {
  const { changes, summary, urns, retained } = await deps.engine.previewDestroy(inputs.request);
  const plan = Buffer.from(canonicalJson({ urns }));
  const stays =
    retained.length === 0
      ? []
      : [`${retained.length} resources stay in the world (retainOnDelete): ${retained.join(', ')}`];
  return {
    preview: { changes, summary, plan, planHash: destroyPlanHash(plan), unknowns: [] },
    urns,
    needs: [`a destroy of ${counted(changes.length, urns.length)} is approved by a person in every mode`, ...stays],
  };
}

/** Of a destroy's plan, as `planFileHash` is of an update's. */
export function destroyPlanHash(plan: Uint8Array): string {
  return digestOf(Buffer.from(plan).toString('utf8'));
}

/**
 * The stack rests from now on: nothing of it is made again until a person says so. A suspend or resume that came meanwhile is
 * another generation and no such wish.
 */
function restPatch(stack: StackRow, run: RunRow): StackPatch {
  return {
    attempted_key: sql<string>`case when spec - 'suspend' = ${JSON.stringify(stack.spec)}::jsonb - 'suspend'
      then ${DESTROYED_KEY} || generation else ${destroyedKey(run.generation)} end`,
    destroyed_at: clock(),
    applied_digest: null,
    applied_revision: null,
    applied_generation: null,
    applied_run_id: null,
    applied_at: null,
    next_drift_at: null,
    heal_requested_by: null,
    refresh_needed: false,
    failures: 0,
  };
}

function restsOn(stack: StackRow, message: string): string {
  return `${message}; it rests until \`plumb reconcile ${stack.name}\` or another spec makes it again`;
}

function againOutcome(stack: StackRow, message: string): Outcome {
  if (!isDestroyed(stack)) return { type: 'progress', reason: 'Progressing', message: `${message}; planning again` };
  if (stack.destroyed_at !== null) return { type: 'done', reason: 'Destroyed', message: restsOn(stack, message) };
  const rest = `a destroy took a part of ${stack.name}, and \`plumb destroy ${stack.name}\` plans the rest`;
  return { type: 'failed', kind: 'stalled', reason: 'ApplyFailed', message: `${message}; ${rest}` };
}

/** What a change of the state by a person's word means for its stack: it is planned again, unless it was destroyed. */
export function planAgain(stack: StackRow, message: string): { outcome: Outcome; stack: StackPatch } {
  return { outcome: againOutcome(stack, message), stack: UNLESS_DESTROYED };
}

/** What a destroy that is done means for its stack; beside it nothing is known to drift any more. */
export function destroyedChange(stack: StackRow, run: RunRow, message: string): Omit<StatusChange, 'run'> {
  return {
    outcome: {
      type: 'done',
      reason: 'Destroyed',
      message: restsOn(stack, message),
    },
    stack: restPatch(stack, run),
    conditions: (conditions) => conditions.filter((condition) => condition.type !== 'Drifted'),
    also: async (trx) => void (await replaceDrift(trx, { tenant: stack.tenant, stackId: stack.id, items: [] })),
  };
}

/** Writes down a destroy that went through. */
export async function finishDestroy(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  run: RunRow,
  { summary, checkpoint }: ApplyResult,
): Promise<void> {
  const left = checkpoint.resources === 0 ? '' : `; ${checkpoint.resources} resources it did not name are left`;
  const message = `run ${run.number}: ${run.targets.length} resources destroyed${left}`;
  const change = destroyedChange(stack, run, message);
  await record(deps, lease, {
    ...change,
    run: {
      id: run.id,
      from: ['applying', 'interrupting'],
      to: 'applied',
      patch: { message, summary: JSON.stringify(summary) },
    },
    stack: { ...change.stack, ...checkpointPatch(checkpoint) },
    events: [
      {
        type: 'Destroyed',
        reason: 'Destroyed',
        severity: 'warning',
        message,
        data: { run: run.number, digest: run.digest, planDigest: run.plan_digest, summary },
      },
    ],
  });
}

/**
 * What an attempt that was cut off, or failed, leaves to be done. An update is planned again; a destroy that has taken
 * something must not turn into an update by itself.
 */
export function afterFailure(run: RunRow, before: string | undefined, now: Checkpoint): StackPatch {
  if (run.operation !== 'destroy') return {};
  return before === now.hash ? {} : { attempted_key: destroyedKey(run.generation) };
}

/** After a crash a destroy is planned again, for a person to approve what is left of it, and so is a heal. */
export function afterCutOff(run: RunRow, before: string | undefined, now: Checkpoint): StackPatch {
  if (run.operation === 'exec') return UNLESS_DESTROYED;
  return { ...afterFailure(run, before, now), ...againPatch(run) };
}

/**
 * What is planned anew when a plan is stale or was cut off. A heal says nothing about the newest revision, which a person may
 * have discarded or canceled; a command by hand is asked for again by hand.
 */
export function againPatch(run: RunRow): StackPatch {
  if (run.operation === 'destroy') return { destroy_requested_by: run.requested_by };
  if (run.operation === 'exec') return {};
  return run.trigger === 'heal' ? { heal_requested_by: run.requested_by } : { attempted_key: null };
}
