import { decide, type Action } from '#core/domain/decide.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { asReconcileError, unreachable, type ReconcileError } from '#core/domain/errors.ts';
import { DEFAULTS, type StackSpec } from '#core/domain/manifest.ts';
import { canMove } from '#core/domain/run.ts';
import { outcomeOf, speaksForStack } from '#core/domain/summarize.ts';
import { clockPlus } from '#core/store/clock.ts';
import { getRunById, lastPlannedRun, lastRun, liveRun, type RunRow } from '#core/store/runs.ts';
import { markStack, type StackPatch, type StackRow } from '#core/store/stacks.ts';
import { acceptMissing } from './accept-missing.ts';
import type { WorkerDeps } from './deps.ts';
import { takeLease, type HeldLease } from './lease.ts';
import { record, recordNewRun } from './record.ts';
import { loadSnapshot } from './snapshot.ts';
import { applyRun } from './steps/apply.ts';
import { againPatch } from './steps/destroy.ts';
import { execRun } from './steps/exec.ts';
import { failRun } from './steps/fail.ts';
import { planRun } from './steps/plan.ts';
import { answerPending, recoverRun } from './steps/recover.ts';
import { resolveSource } from './steps/resolve.ts';
import { verifyRevision } from './steps/verify.ts';

/** More steps than any honest reconcile takes: a guard against a decision that never rests. */
const MAX_STEPS = 50;

interface Scene {
  deps: WorkerDeps;
  lease: HeldLease;
  stack: StackRow;
  desiredKey: string | undefined;
}

async function theRun(scene: Scene, runId: string): Promise<RunRow> {
  const run = await getRunById(scene.deps.db, runId);
  if (run === undefined) throw new Error(`run ${runId} is gone`);
  return run;
}

async function end(
  scene: Scene,
  runId: string,
  to: 'canceled' | 'superseded' | 'expired' | 'stale',
  message: string,
  actor?: string,
  stack: StackPatch = {},
) {
  const run = await theRun(scene, runId);
  // A command by hand says nothing about the revision.
  const outcome = run.operation === 'exec' ? undefined : outcomeOf(to, message);
  await record(scene.deps, scene.lease, {
    run: { id: run.id, from: run.state, to, patch: { message } },
    ...(outcome && { outcome }),
    stack: to === 'stale' ? againPatch(run) : stack,
    events: [
      {
        type: `Run${to[0]?.toUpperCase()}${to.slice(1)}`,
        message: `run ${run.number}: ${message}`,
        ...(actor && { actor }),
        data: { run: run.number, planDigest: run.plan_digest },
      },
    ],
  });
}

/** What was applied, under the approval the stack has now: a stricter rule that waits to be applied holds already. */
function healSpec(applied: StackSpec, { approval }: StackSpec): StackSpec {
  const spec = { ...applied };
  delete spec.approval;
  return approval === undefined ? spec : { ...spec, approval };
}

async function startRun(scene: Scene, action: Extract<Action, { type: 'plan' }>): Promise<void> {
  const { deps, lease, stack } = scene;
  const heal = action.trigger === 'heal';
  const destroy = action.operation === 'destroy';
  const applied = heal && stack.applied_run_id !== null ? await getRunById(deps.db, stack.applied_run_id) : undefined;
  const wanted = {
    tenant: stack.tenant,
    stackId: stack.id,
    operation: action.operation,
    trigger: action.trigger,
    digest: action.digest,
    revision: action.revision,
    generation: applied?.generation ?? stack.generation,
    spec: applied === undefined ? stack.spec : healSpec(applied.spec, stack.spec),
    targets: action.targets,
    requestedBy: (heal ? stack.heal_requested_by : destroy ? stack.destroy_requested_by : null) ?? 'plumbline',
  };
  const run = await recordNewRun(deps, lease, wanted, {
    stack: {
      ...(heal
        ? { heal_requested_by: null }
        : destroy
          ? { destroy_requested_by: null }
          : { attempted_key: scene.desiredKey ?? null, destroyed_at: null }),
      // Only repeated attempts at the same thing count towards giving up.
      ...(action.trigger !== 'retry' && !heal && !destroy && { failures: 0 }),
    },
    ...(speaksForStack(action, stack) && {
      outcome: {
        type: 'progress',
        reason: 'Progressing',
        message: `${action.operation} to ${action.revision} (${action.trigger})`,
      },
    }),
  });
  await planRun(deps, lease, stack, run);
}

async function holdBackward(scene: Scene): Promise<void> {
  const { resolved_revision: now, applied_revision: applied } = scene.stack;
  const message = `the source went back to ${now} while ${applied} is applied; nothing is done (onBackward: hold). Push a newer revision, or set onBackward: apply`;
  await record(scene.deps, scene.lease, {
    outcome: { type: 'failed', kind: 'stalled', reason: 'RevisionWentBack', message },
    // Forgotten, so that a source that comes forward again is looked at, and found up to date.
    stack: { attempted_key: null },
    events: [{ type: 'RevisionWentBack', reason: 'RevisionWentBack', severity: 'warning', message }],
  });
}

async function exhaust(scene: Scene): Promise<void> {
  const last = await lastRun(scene.deps.db, scene.stack.id);
  const message = `gave up after ${scene.stack.failures} attempts: ${last?.message ?? 'no message'}. Push a fix, or \`plumb reconcile\` to try again`;
  await record(scene.deps, scene.lease, {
    outcome: { type: 'failed', kind: 'stalled', reason: last?.reason ?? 'InternalError', message },
  });
}

/** Requests that have nothing left to do. */
const DROPPED = {
  'drop-heal': {
    stack: { heal_requested_by: null },
    events: [{ type: 'HealDropped', message: 'nothing is left to heal: no changed resource in the last drift check' }],
  },
  'drop-destroy': {
    stack: { destroy_requested_by: null },
    events: [{ type: 'DestroyDropped', message: 'nothing was ever run for this stack, so nothing is destroyed' }],
  },
};

async function perform(scene: Scene, action: Exclude<Action, { type: 'rest' }>): Promise<void> {
  const { deps, lease, stack } = scene;
  switch (action.type) {
    case 'resolve':
      return await resolveSource(deps, lease, stack);
    case 'verify':
      return await verifyRevision(deps, lease, stack);
    case 'cancel':
      return await end(scene, action.runId, 'canceled', `canceled by ${action.by}`, action.by);
    case 'supersede':
      return await end(
        scene,
        action.runId,
        'superseded',
        stack.destroy_requested_by === null ? 'a newer revision or spec replaces it' : 'a destroy was asked for',
      );
    case 'expire':
      return await end(scene, action.runId, 'expired', 'nobody approved it in time; `plumb reconcile` plans again');
    case 'yield-to-heal':
      return await end(
        scene,
        action.runId,
        'stale',
        'drift is healed first, which moves the state; it is planned again afterwards',
      );
    case 'plan':
      return await startRun(scene, action);
    case 'continue-plan':
      return await planRun(deps, lease, stack, await theRun(scene, action.runId));
    case 'apply':
      return await applyRun(deps, lease, stack, await theRun(scene, action.runId));
    case 'exec':
      return await execRun(deps, lease, stack, await theRun(scene, action.runId));
    case 'recover':
      return await recoverRun(deps, lease, stack, await theRun(scene, action.runId));
    case 'abandon':
      return await abandon(scene, action.runId);
    case 'answer-pending':
      return await answerWithLastRun(scene);
    case 'accept-missing':
      return await acceptMissing(deps, lease, stack);
    case 'hold-backward':
      return await holdBackward(scene);
    case 'exhaust':
      return await exhaust(scene);
    case 'drop-heal':
    case 'drop-destroy':
      return await record(deps, lease, DROPPED[action.type]);
    default:
      return unreachable(action);
  }
}

/** A heal's refresh may have been cut off in the middle of writing the state. */
function afterAbandon(run: RunRow): StackPatch {
  return run.trigger === 'heal' ? { refresh_needed: true } : {};
}

async function abandon(scene: Scene, runId: string): Promise<void> {
  const run = await theRun(scene, runId);
  const by = run.cancel_requested_by;
  // A person's word outlives the worker it was for.
  if (by !== null && canMove(run.state, 'canceled')) {
    await end(scene, runId, 'canceled', `canceled by ${by}`, by, afterAbandon(run));
    return;
  }
  const isExec = run.operation === 'exec';
  const message = `interrupted while ${run.state}; nothing was applied${isExec ? ', ask for it again' : ' and it is planned again'}`;
  await record(scene.deps, scene.lease, {
    run: { id: run.id, from: run.state, to: 'errored', patch: { reason: 'Interrupted', message } },
    ...(!isExec && { outcome: { type: 'progress', reason: 'Interrupted', message } }),
    stack: { ...againPatch(run), ...afterAbandon(run) },
    events: [
      { type: 'RunInterrupted', reason: 'Interrupted', severity: 'warning', message: `run ${run.number}: ${message}` },
    ],
  });
}

async function answerWithLastRun(scene: Scene): Promise<void> {
  // A command by hand may have come between: it knows nothing of what was planned.
  const last = (await lastPlannedRun(scene.deps.db, scene.stack.id)) ?? (await lastRun(scene.deps.db, scene.stack.id));
  if (last === undefined) throw new Error('pending operations without a run');
  await answerPending(scene.deps, scene.lease, scene.stack, last);
}

/** Steps of a run: what they throw is the run's failure. A source that does not answer leaves a waiting plan alone. */
const RUN_ACTIONS: ReadonlySet<Action['type']> = new Set(['plan', 'continue-plan', 'apply']);

/** Turns what a step threw into status; only a lost lease and a stopping worker leave everything as it is. */
async function settle(scene: Scene, action: Action, error: ReconcileError): Promise<'go-on' | 'stop'> {
  const { deps, lease, stack } = scene;
  if (error.reason === 'LeaseLost' || deps.shutdown.aborted) return 'stop';
  const run = RUN_ACTIONS.has(action.type) ? await liveRun(deps.db, stack.id) : undefined;
  if (run !== undefined && run.cancel_requested_by !== null && canMove(run.state, 'canceled')) {
    await end(scene, run.id, 'canceled', `canceled by ${run.cancel_requested_by}`, run.cancel_requested_by);
    return 'go-on';
  }
  // An apply whose end could not be written down is recovered: what it did has to be found out.
  if (run !== undefined && run.state !== 'applying' && canMove(run.state, 'errored')) {
    await failRun(deps, lease, run, run.state, error);
    return 'go-on';
  }
  const message = deps.scrubber.scrub(error.message);
  deps.logger.warn({ err: error, stack: stack.id, reason: error.reason, action: action.type }, 'step failed');
  const patch =
    action.type === 'resolve'
      ? { source_due_at: clockPlus(sourceRetryMs(scene)), handled_seq: stack.requested_seq }
      : {};
  const seen = stack.conditions.some((condition) => condition.reason === error.reason && condition.message === message);
  await record(deps, lease, {
    outcome: { type: 'failed', kind: error.kind, reason: error.reason, message },
    stack: patch,
    events: seen ? [] : [{ type: 'ReconcileFailed', reason: error.reason, severity: 'error', message }],
  });
  return action.type === 'resolve' ? 'go-on' : 'stop';
}

/** A source that failed is asked again after the retry interval, or its own when that is shorter, from the failure on. */
function sourceRetryMs(scene: Scene): number {
  const { spec } = scene.stack;
  const retryMs = parseDuration(spec.retry?.interval ?? DEFAULTS.retryInterval);
  const intervalMs = parseDuration(spec.source.interval ?? DEFAULTS.sourceInterval);
  return Math.min(retryMs, intervalMs);
}

const STOP_RETRY_MS = 10_000;

async function steps(deps: WorkerDeps, lease: HeldLease): Promise<void> {
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const loaded = await loadSnapshot(deps.db, lease.stackId);
    if (loaded === undefined) return;
    const { stack, snapshot } = loaded;
    const action = decide(snapshot);
    const scene = { deps, lease, stack, desiredKey: snapshot.desiredKey };
    if (action.type === 'rest') {
      // Resuming or answering asks again, so a request that cannot be served now is not kept open.
      const deaf = stack.spec.suspend === true || (snapshot.run === undefined && snapshot.pending.open > 0);
      await record(deps, lease, {
        stack: {
          next_reconcile_at: action.until ?? null,
          observed_generation: stack.generation,
          ...(deaf && { handled_seq: stack.requested_seq }),
        },
      });
      return;
    }
    deps.logger.debug({ stack: stack.name, action: action.type }, 'next action');
    try {
      await perform(scene, action);
    } catch (thrown) {
      const next = await settle(scene, action, asReconcileError(thrown));
      if (next === 'go-on') continue;
      await deps.db
        .updateTable('stacks')
        .set({ next_reconcile_at: clockPlus(STOP_RETRY_MS) })
        .where('id', '=', stack.id)
        .execute();
      return;
    }
  }
  deps.logger.error({ stack: lease.stackId, reason: 'InternalError' }, 'reconcile did not come to rest');
}

/**
 * Looks at one stack under its lease and does the next needful things until it rests. Safe to call at any time and
 * any number of times; a stack whose lease is held is left to its holder.
 */
export async function reconcile(deps: WorkerDeps, stackId: string): Promise<void> {
  const attempt = await takeLease(deps, stackId, 'run');
  if (attempt.outcome === 'held') return;
  if (attempt.outcome === 'holder-unknown') {
    const message = `worker ${attempt.workerId} held the lease until ${attempt.since.toISOString()} and cannot be proved dead; make sure it is, then \`plumb unlock --confirm-dead\``;
    await markStack(deps.db, stackId, { type: 'failed', kind: 'stalled', reason: 'HolderUnknown', message });
    return;
  }
  const { lease } = attempt;
  try {
    await steps(deps, lease);
  } finally {
    await lease.release();
  }
}
