import { execTraits } from '#core/domain/exec-command.ts';
import { asReconcileError, stalled, type ReconcileError } from '#core/domain/errors.ts';
import type { RunState } from '#core/domain/run.ts';
import { saySigners } from '#core/domain/verification.ts';
import type { Checkpoint, ExecResult } from '#core/engine/port.ts';
import { sealContext } from '#core/seal-context.ts';
import { open, seal } from '#core/secrets.ts';
import { openCreates } from '#core/store/open-creates.ts';
import { deleteRunInput, getRunFile, saveRunFile } from '#core/store/run-files.ts';
import { getRunById, type RunRow } from '#core/store/runs.ts';
import type { StackPatch, StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import { duringRun, type HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { requireOwnCode } from '../state-check.ts';
import { leftBehind } from './checkpoint-patch.ts';
import { planAgain } from './destroy.ts';
import { leftState } from './left-state.ts';
import { clearOwnLocks } from './recover.ts';
import { gatherInputs, type Inputs } from './request.ts';
import { requireTrust } from './verify.ts';
import { fetchProgram, withWorkspace, type RunScene } from './workspace.ts';

interface Scene {
  deps: WorkerDeps;
  lease: HeldLease;
  stack: StackRow;
  run: RunRow;
  command: string[];
}

function say({ run, command }: Scene): string {
  return `run ${run.number}: pulumi ${command.join(' ')}`;
}

async function move({ deps, lease, run }: Scene, from: RunState, to: RunState, message: string, signed?: string) {
  await record(deps, lease, {
    run: { id: run.id, from, to, patch: { message, ...(signed !== undefined && { signed }) } },
  });
}

async function inputOf({ deps, run }: Scene): Promise<Buffer | undefined> {
  const at = { tenant: run.tenant, runId: run.id, kind: 'input' } as const;
  const sealed = await getRunFile(deps.db, at);
  return sealed === undefined ? undefined : open(deps.masterKey, sealed, sealContext.runFile(at));
}

/**
 * What a command that writes means for the stack: a person answers for the state as it is now, the next plan is made from it, and
 * after one that did not end well nothing is planned before a refresh.
 */
async function afterWriting(scene: Scene, checkpoint: Checkpoint, wentWell: boolean): Promise<StackPatch> {
  const isNewWorld = scene.command.slice(0, 2).join(' ') === 'stack import';
  const hasState = checkpoint.hash !== 'absent' || scene.stack.checkpoint !== null;
  return {
    ...(hasState && leftBehind(checkpoint, await openCreates(scene.deps.db, scene.stack.id))),
    accepted_checkpoint: checkpoint.hash,
    pending_answers: null,
    failures: 0,
    ...((isNewWorld || !wentWell) && { refresh_needed: true }),
    ...(scene.command[0] === 'refresh' && wentWell && { refresh_needed: false }),
  };
}

interface Ended {
  from: RunState | RunState[];
  /** Absent where the engine did not get to an end. */
  code?: number;
  state?: string | undefined;
  error?: ReconcileError;
  /** Of a command that writes, once it may have begun. */
  checkpoint?: Checkpoint;
}

async function finish(scene: Scene, ended: Ended): Promise<void> {
  const { deps, lease, run, command } = scene;
  const wentWell = ended.code === 0;
  const how = ended.error === undefined ? `ended with ${ended.code}` : `failed: ${ended.error.message}`;
  const message = `${say(scene)} ${how}`;
  const { checkpoint, state } = ended;
  const patch = checkpoint === undefined ? undefined : await afterWriting(scene, checkpoint, wentWell);
  const again = planAgain(scene.stack, message);
  await record(deps, lease, {
    run: {
      id: run.id,
      from: ended.from,
      to: wentWell ? 'applied' : 'errored',
      patch: {
        message,
        exit_code: ended.code ?? null,
        ...(!wentWell && { reason: ended.error?.reason ?? 'ApplyFailed' }),
      },
    },
    ...(patch && { ...again, stack: { ...again.stack, ...patch } }),
    events: [
      {
        type: wentWell ? 'Executed' : 'ExecFailed',
        severity: 'warning',
        message,
        actor: run.requested_by,
        ...(ended.error && { reason: ended.error.reason }),
        data: {
          run: run.number,
          command,
          reason: run.comment,
          exitCode: ended.code ?? null,
          before: scene.stack.checkpoint,
          after: checkpoint?.hash ?? null,
        },
      },
    ],
    also: async (trx) => {
      await deleteRunInput(trx, run.id);
      if (state === undefined) return;
      const at = { tenant: run.tenant, runId: run.id, kind: 'state' } as const;
      await saveRunFile(trx, { ...at, sealed: seal(deps.masterKey, state, sealContext.runFile(at)) });
    },
  });
}

async function carryOut(scene: Scene, inputs: Inputs): Promise<void> {
  const { deps, command } = scene;
  const { writes, settings, input: wantsInput } = execTraits(command);
  const input = wantsInput ? await inputOf(scene) : undefined;
  if (wantsInput && input === undefined)
    throw stalled('SpecInvalid', 'the state to import was not carried out in time; ask again');
  await clearOwnLocks(deps, scene.stack, inputs.request);
  // These start providers, and with them the code a dynamic resource brings.
  if (settings) requireOwnCode(scene.stack, await deps.engine.checkpoint(inputs.request));
  await move(scene, 'approved', 'applying', `${say(scene)} is under way`);
  let result: ExecResult;
  try {
    result = await deps.engine.exec(inputs.request, { command, ...(input && { input }) });
  } catch (thrown) {
    const error = asReconcileError(thrown);
    if (error.reason === 'LeaseLost') throw error;
    const begun = writes && error.reason !== 'StateLocked';
    await finish(scene, {
      from: ['applying', 'interrupting'],
      error,
      ...(begun && { checkpoint: await leftState(deps, inputs.request) }),
    });
    return;
  }
  const checkpoint = writes ? { checkpoint: await leftState(deps, inputs.request) } : {};
  await finish(scene, { from: ['applying', 'interrupting'], ...result, ...checkpoint });
}

async function prepare(scene: Scene, work: RunScene): Promise<void> {
  const { deps, lease, stack, run } = scene;
  await move(scene, 'fetching', 'planning', `preparing ${run.revision}`);
  const inputs = await gatherInputs(deps, lease, { stack, run, ...work, phase: 'apply' });
  await move(scene, 'planning', 'approved', `asked for by ${run.requested_by}`);
  await carryOut(scene, inputs);
}

/**
 * Carries out a command a person asked for: under the lease, in the sandbox and the workspace of the revision, with the
 * credentials of an apply. It says nothing about the revision, so a failure is the run's alone.
 */
export async function execRun(deps: WorkerDeps, lease: HeldLease, stack: StackRow, run: RunRow): Promise<void> {
  const scene = { deps, lease, stack, run, command: run.command ?? [] };
  await duringRun(deps, lease, run, async () => {
    try {
      await move(scene, 'pending', 'verifying', `looking who signed ${run.revision}`);
      const verified = await requireTrust(deps, stack, run, lease.signal);
      await move(scene, 'verifying', 'fetching', `fetching ${run.revision}`, saySigners(verified));
      const artifact = await fetchProgram(deps, stack, run, lease.signal);
      await withWorkspace(deps, run, artifact, lease.signal, (work) => prepare(scene, work));
    } catch (thrown) {
      const error = asReconcileError(thrown);
      const now = await getRunById(deps.db, run.id);
      const isOurs = now !== undefined && ['verifying', 'fetching', 'planning', 'approved'].includes(now.state);
      if (error.reason === 'LeaseLost' || deps.shutdown.aborted || !isOurs) throw error;
      await finish(scene, { from: now.state, error });
    }
  });
}
