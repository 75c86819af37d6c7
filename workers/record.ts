import type { Transaction } from 'kysely';
import type { Condition } from '#core/domain/condition.ts';
import type { Outcome } from '#core/domain/summarize.ts';
import { speaksForStack, summarize } from '#core/domain/summarize.ts';
import type { RunState } from '#core/domain/run.ts';
import type { Reason } from '#core/domain/reason.ts';
import { recordEvent } from '#core/store/events.ts';
import { databaseNow } from '#core/store/clock.ts';
import { createRun, moveRun, type NewRun, type RunPatch, type RunRow } from '#core/store/runs.ts';
import type { Schema, Severity } from '#core/store/schema.ts';
import { lockStack, patchStack, type StackPatch } from '#core/store/stacks.ts';
import { scrubDeep, type Scrubber } from '#core/scrubber.ts';
import type { WorkerDeps } from './deps.ts';
import type { HeldLease } from './lease.ts';

/** A fact for the outbox. */
export interface EventInput {
  type: string;
  reason?: Reason;
  severity?: Severity;
  message: string;
  actor?: string;
  data?: Record<string, unknown>;
}

/** One change of status: run, stack and events move together or not at all. */
export interface StatusChange {
  run?: { id: string; from: RunState | RunState[]; to: RunState; patch?: RunPatch };
  /** What it means for the stack; left out by itself where the run does not speak for it. */
  outcome?: Outcome;
  stack?: StackPatch;
  /** Conditions beside Ready, Reconciling and Stalled, made from those the outcome leaves. */
  conditions?(conditions: readonly Condition[], now: Date): readonly Condition[];
  events?: EventInput[];
  /** More writes of the same transaction. */
  also?(trx: Transaction<Schema>): Promise<void>;
}

function scrubFields(scrubber: Scrubber, data: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(data).map(([name, value]) => [name, scrubDeep(scrubber, value)]));
}

/** Writes a status change under the lease; throws `LeaseLost` (nothing written) when it is no longer ours. */
export async function record(deps: WorkerDeps, lease: HeldLease, change: StatusChange): Promise<void> {
  const clean = (said: Condition): Condition => ({ ...said, message: deps.scrubber.scrub(said.message) });
  await deps.db.transaction().execute(async (trx) => {
    await lease.assert(trx);
    const stack = await lockStack(trx, lease.stackId);
    let speaks = true;
    if (change.run !== undefined) {
      const { id, from, to, patch } = change.run;
      const message = typeof patch?.message === 'string' ? { message: deps.scrubber.scrub(patch.message) } : {};
      const moved = await moveRun(trx, { runId: id, from, to, patch: { ...patch, ...message } });
      speaks = speaksForStack(moved, stack);
    }
    const at = { generation: stack.generation, now: await databaseNow(trx) };
    const outcome = change.outcome &&
      speaks && { ...change.outcome, message: deps.scrubber.scrub(change.outcome.message) };
    const summarized =
      outcome === undefined || outcome === false ? stack.conditions : summarize(stack.conditions, outcome, at);
    const said = change.conditions?.(summarized, at.now).map(clean) ?? summarized;
    const conditions = said === stack.conditions ? {} : { conditions: JSON.stringify(said) };
    await patchStack(trx, lease.stackId, { ...conditions, ...change.stack });
    for (const event of change.events ?? []) {
      await recordEvent(trx, {
        tenant: stack.tenant,
        stackId: stack.id,
        runId: change.run?.id ?? null,
        type: event.type,
        reason: event.reason ?? null,
        severity: event.severity ?? 'info',
        message: deps.scrubber.scrub(event.message),
        actor: event.actor ?? 'plumbline',
        data: scrubFields(deps.scrubber, event.data ?? {}),
      });
    }
    await change.also?.(trx);
  });
}

/** Makes a pending run together with what it means for the stack. */
export async function recordNewRun(
  deps: WorkerDeps,
  lease: HeldLease,
  run: NewRun,
  change: Pick<StatusChange, 'stack' | 'outcome'> = {},
): Promise<RunRow> {
  const made: RunRow[] = [];
  await record(deps, lease, { ...change, also: async (trx) => void made.push(await createRun(trx, run)) });
  const [row] = made;
  if (row === undefined) throw new Error('a run was recorded and not made');
  return row;
}
