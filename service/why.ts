import type { Selectable } from 'kysely';
import type { RunsTable, StacksTable } from '#core/store/schema.ts';

type StackRow = Pick<
  Selectable<StacksTable>,
  | 'spec'
  | 'conditions'
  | 'pending_operations'
  | 'pending_answers'
  | 'next_reconcile_at'
  | 'requested_seq'
  | 'handled_seq'
>;
type LiveRow = Pick<Selectable<RunsTable>, 'number' | 'operation' | 'state' | 'needs' | 'cancel_requested_by'>;

export interface Surroundings {
  now: Date;
  /** Whether a worker of the tenant has shown up lately. */
  hasWorker: boolean;
}

function ofRun(run: LiveRow): string {
  if (run.cancel_requested_by !== null) return `run ${run.number} is being canceled by ${run.cancel_requested_by}`;
  if (run.state === 'policy_failed')
    return `run ${run.number} violates mandatory policies: push a fix, or override them with \`plumb override\``;
  if (run.state !== 'awaiting_approval') return `run ${run.number} is ${run.state}`;
  const [first = 'its plan is not approved yet'] = run.needs;
  const more = run.needs.length > 1 ? ` and ${run.needs.length - 1} more` : '';
  return `run ${run.number}${run.operation === 'destroy' ? ', a destroy,' : ''} waits for an approval: ${first}${more}`;
}

/** One line: what the stack is doing, or why it does nothing and what a person can do. The first cause wins. */
export function explain(stack: StackRow, live: LiveRow | undefined, at: Surroundings): string {
  if (stack.spec.suspend === true) return 'suspended: resume it to go on';
  const open = (stack.pending_operations?.length ?? 0) - (stack.pending_answers?.length ?? 0);
  if (open > 0) return `${open} interrupted operations wait for an answer: clear or import each`;
  if (live?.state === 'awaiting_approval') return ofRun(live);
  if (!at.hasWorker) return 'no worker serves this tenant: start one with PLUMBLINE_WORKER_TENANT set to it';
  if (live !== undefined) return ofRun(live);
  const of = (type: string) =>
    stack.conditions.find((condition) => condition.type === type && condition.status === 'True');
  const stalled = of('Stalled');
  if (stalled !== undefined) return `stalled (${stalled.reason}): ${stalled.message}`;
  if (stack.requested_seq > stack.handled_seq) return 'asked to reconcile: the next free worker takes it';
  const reconciling = of('Reconciling');
  const due = stack.next_reconcile_at;
  const next = due === null ? '' : due > at.now ? `; looks again at ${due.toISOString()}` : '; due now';
  if (reconciling !== undefined) return `${reconciling.reason}: ${reconciling.message}${next}`;
  const ready = stack.conditions.find((condition) => condition.type === 'Ready');
  return ready === undefined ? `not looked at yet${next}` : `${ready.reason}: ${ready.message}${next}`;
}
