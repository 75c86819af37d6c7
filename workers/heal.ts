import { setCondition, type Condition } from '#core/domain/condition.ts';
import { healVerdict, isHealAsked } from '#core/domain/drift.ts';
import type { Finding } from '#core/domain/drift-report.ts';
import { DEFAULTS } from '#core/domain/manifest.ts';
import type { Reason } from '#core/domain/reason.ts';
import { healsSince, isIgnored, lastHeal, listDrift } from '#core/store/drift.ts';
import { recordEvent } from '#core/store/events.ts';
import { requestHeal } from '#core/store/requests.ts';
import { lockStack, patchStack, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';

const DAY_MS = 86_400_000;

/** Who asks for a heal whose plan waits for a person in every approval mode. */
export const PLANNED_HEAL = 'drift.action: plan';

/** The conditions with `Drifted` set. */
export function drifted(
  conditions: readonly Condition[],
  generation: number,
  status: 'True' | 'False' | 'Unknown',
  reason: Reason,
  message: string,
  now: Date,
) {
  return setCondition(conditions, { type: 'Drifted', status, reason, message, observedGeneration: generation }, now);
}

/** Why the plan of a heal waits for a person whatever the approval mode; empty for any other run. */
export function plannedHealNeeds(run: { trigger: string; requested_by: string }): string[] {
  if (run.trigger !== 'heal' || run.requested_by !== PLANNED_HEAL) return [];
  return ['drift.action is plan: what is set back is approved by a person'];
}

/** Says on the stack, and once in the diary, that something else writes what was healed. */
async function sayLoop(deps: WorkerDeps, before: StackRow, said: string, now: Date): Promise<void> {
  const message = deps.scrubber.scrub(said);
  // As it was before this check, which has just written what it found.
  const known = before.conditions.some(({ type, reason }) => type === 'Drifted' && reason === 'HealLoop');
  await deps.db.transaction().execute(async (trx) => {
    const stack = await lockStack(trx, before.id);
    const conditions = drifted(stack.conditions, stack.generation, 'True', 'HealLoop', message, now);
    await patchStack(trx, stack.id, { conditions: JSON.stringify(conditions) });
    if (known) return;
    await recordEvent(trx, {
      tenant: stack.tenant,
      stackId: stack.id,
      runId: null,
      type: 'HealLoop',
      reason: 'HealLoop',
      severity: 'error',
      message,
      actor: 'plumbline',
      data: {},
    });
  });
}

/** Whether the same wish was made before and is under way, or was refused with nothing new since. */
async function isAsked(deps: WorkerDeps, stackId: string, now: Date): Promise<boolean> {
  const [last, rows] = await Promise.all([lastHeal(deps.db, stackId), listDrift(deps.db, stackId)]);
  const changed = rows.filter((row) => row.kind === 'changed' && !isIgnored(row, now));
  return isHealAsked(
    last,
    last?.finished === false,
    changed.map((row) => row.first_seen_at),
  );
}

/** Asks for a heal where the spec says so and nothing fights it. */
export async function healIfWanted(
  deps: WorkerDeps,
  stack: StackRow,
  found: readonly Finding[],
  now: Date,
): Promise<void> {
  const action = stack.spec.drift?.action ?? DEFAULTS.driftAction;
  if (action === 'report') return;
  const verdict = healVerdict(found, await healsSince(deps.db, stack.id, new Date(now.getTime() - DAY_MS)));
  switch (verdict.type) {
    case 'nothing':
      return;
    case 'loop':
      return await sayLoop(deps, stack, verdict.message, now);
    case 'heal':
      if (await isAsked(deps, stack.id, now)) return;
      await requestHeal(deps.db, {
        tenant: stack.tenant,
        stackId: stack.id,
        by: action === 'plan' ? PLANNED_HEAL : 'drift.action: heal',
      });
      await deps.ring.ring(stack.tenant, stack.id, 'reconcile');
  }
}
