import { asReconcileError, stalled, transient, waiting, type ReconcileError } from '#core/domain/errors.ts';
import { unmasked } from '#core/engine/masked.ts';
import { wrongAnswers } from '#core/engine/pending.ts';
import { plannedResources } from '#core/engine/plan-file.ts';
import type { EngineRequest } from '#core/engine/port.ts';
import { sealContext } from '#core/seal-context.ts';
import { open } from '#core/secrets.ts';
import { openCreates } from '#core/store/open-creates.ts';
import { getPlan } from '#core/store/plans.ts';
import type { CompleteAnswer } from '#core/store/schema.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { checkState } from '../state-check.ts';
import { leftBehind, leftByApply } from './checkpoint-patch.ts';
import { afterCutOff, afterFailure, planAgain } from './destroy.ts';
import { failRun } from './fail.ts';
import { refreshState } from './refresh.ts';
import { gatherInputs, type Inputs } from './request.ts';
import { requireTrust } from './verify.ts';
import { fetchProgram, withWorkspace } from './workspace.ts';

const FOREIGN_LOCK_RETRY_MS = 30_000;

/**
 * Removes locks that dead runs of ours left behind; the lease proves that none of them is alive.
 * @throws waiting(StateLocked) naming a holder that is not ours.
 */
export async function clearOwnLocks(deps: WorkerDeps, stack: StackRow, request: EngineRequest): Promise<void> {
  const holder = await deps.engine.releaseOwnLock(request, [...(request.deadRunIds ?? []), request.runId]);
  if (holder === undefined) return;
  throw waiting(
    'StateLocked',
    `the state of ${stack.name} is locked by ${holder}; waiting for it to finish`,
    FOREIGN_LOCK_RETRY_MS,
  );
}

/** Runs `act` with a workspace of the run's artifact and plan credentials, and cleans up after it. */
export async function withInputs(
  deps: WorkerDeps,
  lease: HeldLease,
  stack: StackRow,
  run: RunRow,
  act: (inputs: Inputs) => Promise<void>,
) {
  const artifactDir = await fetchProgram(deps, stack, run, lease.signal);
  await withWorkspace(deps, run, artifactDir, lease.signal, async (scene) =>
    act(await gatherInputs(deps, lease, { stack, run, ...scene, phase: 'plan' })),
  );
}

/**
 * An apply was cut off and its processes are proved dead: release its lock, see what it left, and either ask a person about
 * resources that may exist unrecorded, or refresh and plan again. Nothing is applied blindly.
 */
export async function recoverRun(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<void> {
  await withInputs(deps, lease, stack, run, async ({ request }) => {
    await clearOwnLocks(deps, stack, request);
    const checkpoint = await deps.engine.checkpoint(request);
    const plan = await getPlan(deps.db, run.id);
    const canceledBy = run.cancel_requested_by;
    const error =
      canceledBy === null
        ? transient(
            'Interrupted',
            `the apply of ${run.revision} was interrupted; its state is refreshed before anything is planned`,
          )
        : stalled('Canceled', `canceled by ${canceledBy}, and interrupted in the middle of ${run.revision}`);
    const again = canceledBy === null ? afterCutOff : afterFailure;
    await failRun(deps, lease, run, ['applying', 'interrupting'], error, {
      ...again(run, plan?.bound.checkpoint, checkpoint),
      refresh_needed: true,
      ...(checkpoint.hash !== 'absent' && plan !== undefined && { identity: JSON.stringify(plan.bound.identity) }),
      ...leftByApply({ stack, run, plan }, checkpoint, await openCreates(deps.db, run.stack_id)),
    });
  });
}

/** The answers, each with what it brings in where the state has no record of it; secrets come from the sealed plan. */
async function completeAnswers(deps: WorkerDeps, stack: StackRow, run: RunRow): Promise<CompleteAnswer[]> {
  const noted = new Map((stack.pending_operations ?? []).map(({ urn, resource }) => [urn, resource]));
  const plan = await getPlan(deps.db, run.id);
  // Of a destroy it is a list of URNs, which knows no inputs.
  const isUpdatePlan = plan !== undefined && run.operation !== 'destroy';
  const planned = isUpdatePlan ? plannedResources(open(deps.masterKey, plan.bytes, sealContext.plan(run))) : [];
  return (stack.pending_answers ?? []).map((answer) => {
    const resource = noted.get(answer.urn);
    if (resource === undefined) return answer;
    const sources = planned.filter(({ urn }) => urn === answer.urn).map(({ inputs }) => inputs);
    return { ...answer, resource: unmasked(resource, sources) };
  });
}

/** A wrong answer is taken back, so that the question is open again; the state is as it was. */
async function askAgain(deps: WorkerDeps, lease: HeldLease, stack: StackRow, error: ReconcileError): Promise<void> {
  const wrong = wrongAnswers(error);
  if (wrong.length === 0) return;
  const kept = (stack.pending_answers ?? []).filter((answer) => !wrong.includes(answer.urn));
  await record(deps, lease, { stack: { pending_answers: kept.length > 0 ? JSON.stringify(kept) : null } });
}

/**
 * Carries out a person's answers about interrupted creates: each is imported by its id or cleared from the state. The refresh
 * after it starts plugins, which the artifact may have brought, so the artifact has to be trusted still.
 */
export async function answerPending(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<void> {
  await requireTrust(deps, stack, run, lease.signal);
  const answers = await completeAnswers(deps, stack, run);
  await withInputs(deps, lease, stack, run, async ({ request }) => {
    await clearOwnLocks(deps, stack, request);
    await checkState(deps, stack, request.identity, await deps.engine.checkpoint(request));
    const refreshed = refreshState(deps, lease, stack, { ...request, targets: [] }, answers);
    const { after, patch } = await refreshed.catch(async (thrown: unknown) => {
      await askAgain(deps, lease, stack, asReconcileError(thrown));
      throw thrown;
    });
    const again = planAgain(stack, 'pending operations were answered');
    await record(deps, lease, {
      ...again,
      stack: {
        ...again.stack,
        pending_operations: leftBehind(after, []).pending_operations,
        ...patch,
        pending_answers: null,
        refresh_needed: false,
      },
      events: answers.map((answer) => ({
        type: 'PendingAnswered',
        message: answer.answer === 'import' ? `${answer.urn} imported as ${answer.id}` : `${answer.urn} cleared`,
        actor: answer.by,
        data: { urn: answer.urn, answer: answer.answer },
      })),
    });
  });
}
