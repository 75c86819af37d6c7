import type { StackSpec } from '../domain/manifest.ts';
import { isTrusted } from '../domain/verification.ts';
import { Conflict } from './conflict.ts';
import { inTransaction, type Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import { bumpRequest, type StackRequest } from './requests.ts';
import { saveRunFile } from './run-files.ts';
import { createRun, getRunById, liveRun, type RunRow } from './runs.ts';
import { lockStack, type StackRow } from './stacks.ts';

interface Source {
  digest: string;
  revision: string;
  generation: number;
  spec: StackSpec;
}

/** Whose workspace and credentials a command gets: those of what is applied, else of what is resolved and trusted. */
async function sourceOf(db: Queryable, stack: StackRow): Promise<Source> {
  const applied = stack.applied_run_id === null ? undefined : await getRunById(db, stack.applied_run_id);
  if (applied !== undefined) {
    const { digest, revision, generation, spec } = applied;
    return { digest, revision, generation, spec };
  }
  const { resolved_digest: digest, resolved_revision: revision, verification, generation, spec } = stack;
  const isVerified = verification !== null && verification.digest === digest && isTrusted(verification);
  if (digest !== null && revision !== null && isVerified) return { digest, revision, generation, spec };
  throw new Conflict(
    `nothing of ${stack.name} is applied, and no revision of it is resolved and trusted: there is nothing to work in`,
  );
}

async function refuseBesideRun(db: Queryable, stack: StackRow): Promise<void> {
  const run = await liveRun(db, stack.id);
  if (run === undefined) return;
  throw new Conflict(
    `run ${run.number} (${run.operation}) of ${stack.name} is ${run.state}; wait for its end, discard or cancel it first`,
  );
}

/** A command by hand; the caller has checked it (core/domain/exec-command.ts). */
export interface ExecToMake extends StackRequest {
  command: readonly string[];
  reason: string;
  /** Seals what is sent along for the run. */
  input?: (runId: string) => Buffer;
}

/**
 * Makes the run of a command by hand, which the next reconcile carries out even where the stack is suspended or stalled.
 * @throws Conflict while another run is unfinished, or when there is no revision to work in
 */
export async function requestExec(db: Queryable, request: ExecToMake): Promise<RunRow> {
  const { tenant, command, reason, by } = request;
  return await inTransaction(db, async (trx) => {
    const stack = await lockStack(trx, request.stackId, tenant);
    await refuseBesideRun(trx, stack);
    const source = await sourceOf(trx, stack);
    const made = await createRun(trx, {
      ...source,
      tenant,
      stackId: stack.id,
      operation: 'exec',
      trigger: 'manual',
      targets: [],
      requestedBy: by,
    });
    const run = await trx
      .updateTable('runs')
      .set({ command: JSON.stringify(command), comment: reason })
      .where('id', '=', made.id)
      .returningAll()
      .executeTakeFirstOrThrow();
    if (request.input !== undefined) {
      await saveRunFile(trx, { tenant, runId: run.id, kind: 'input', sealed: request.input(run.id) });
    }
    await bumpRequest(trx, tenant, stack.id);
    await recordEvent(trx, {
      tenant,
      stackId: stack.id,
      runId: run.id,
      type: 'ExecRequested',
      severity: 'warning',
      message: `run ${run.number}: pulumi ${command.join(' ')} was asked for: ${reason}`,
      actor: by,
      data: { run: run.number, command, reason },
    });
    return run;
  });
}
