import { setCondition, type Condition } from '#core/domain/condition.ts';
import { healVerdict } from '#core/domain/drift.ts';
import { DEFAULTS } from '#core/domain/manifest.ts';
import type { Reason } from '#core/domain/reason.ts';
import type { DriftItem } from '#core/engine/port.ts';
import { healsSince } from '#core/store/drift.ts';
import { recordEvent } from '#core/store/events.ts';
import { requestHeal } from '#core/store/requests.ts';
import { getStackById, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';

const DAY_MS = 86_400_000;

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

/** Asks for a heal where the spec says so and nothing fights it. */
export async function healIfWanted(
  deps: WorkerDeps,
  stack: StackRow,
  items: readonly DriftItem[],
  now: Date,
): Promise<void> {
  if ((stack.spec.drift?.action ?? DEFAULTS.driftAction) !== 'heal') return;
  const heals = await healsSince(deps.db, stack.id, new Date(now.getTime() - DAY_MS));
  const verdict = healVerdict(items, heals);
  switch (verdict.type) {
    case 'nothing':
      return;
    case 'loop': {
      // As it was before this check, which has just written what it found.
      const known = stack.conditions.some(
        (condition) => condition.type === 'Drifted' && condition.reason === 'HealLoop',
      );
      const message = `${verdict.property} was healed three times in a day and drifted again: something else writes it. Find it, or set drift.action: report`;
      await deps.db.transaction().execute(async (trx) => {
        const fresh = await getStackById(trx, stack.id);
        if (fresh === undefined) return;
        await trx
          .updateTable('stacks')
          .set({
            conditions: JSON.stringify(drifted(fresh.conditions, fresh.generation, 'True', 'HealLoop', message, now)),
          })
          .where('id', '=', stack.id)
          .execute();
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
      return;
    }
    case 'heal':
      await requestHeal(deps.db, { tenant: stack.tenant, stackId: stack.id, by: 'drift.action: heal' });
      await deps.ring.ring(stack.tenant, stack.id, 'reconcile');
  }
}
