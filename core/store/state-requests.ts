import type { Transaction } from 'kysely';
import { Conflict } from './conflict.ts';
import { inTransaction, type Queryable } from './database.ts';
import { listDrift } from './drift.ts';
import { recordEvent } from './events.ts';
import { bumpRequest, type StackRequest } from './requests.ts';
import { liveRun } from './runs.ts';
import type { Schema } from './schema.ts';
import { lockStack, patchStack, UNLESS_DESTROYED, type StackPatch, type StackRow } from './stacks.ts';

interface Asked {
  type: string;
  severity?: 'info';
  message: string;
  data?: Record<string, unknown>;
  patch: StackPatch;
}

/** One request on a stack, checked and written in one transaction. */
async function ask(
  db: Queryable,
  request: StackRequest,
  decide: (trx: Transaction<Schema>, stack: StackRow) => Promise<Asked>,
): Promise<StackRow> {
  return await inTransaction(db, async (trx) => {
    const stack = await lockStack(trx, request.stackId, request.tenant);
    const { patch, ...event } = await decide(trx, stack);
    await bumpRequest(trx, stack.tenant, stack.id);
    await patchStack(trx, stack.id, patch);
    await recordEvent(trx, {
      tenant: stack.tenant,
      stackId: stack.id,
      severity: 'warning',
      actor: request.by,
      ...event,
    });
    return await lockStack(trx, stack.id);
  });
}

/** A stalled attempt is made again; a stack that was destroyed stays so. */
const TRY_AGAIN: StackPatch = { ...UNLESS_DESTROYED, failures: 0 };

/**
 * A person asks for everything the stack made to be destroyed; the next reconcile plans it, for a person to approve.
 * @throws Conflict when the stack is suspended, was never run, has open questions, or a destroy is under way already
 */
export async function requestDestroy(db: Queryable, request: StackRequest): Promise<StackRow> {
  return await ask(db, request, async (trx, stack) => {
    const live = await liveRun(trx, stack.id);
    if (live?.operation === 'destroy') {
      throw new Conflict(`run ${live.number} is a destroy already and ${live.state}; approve, discard or cancel it`);
    }
    if (live?.state === 'applying' || live?.state === 'interrupting')
      throw new Conflict(`run ${live.number} is ${live.state}; wait for its end, or cancel it first`);
    if (stack.spec.suspend === true) throw new Conflict(`${stack.name} is suspended; resume it first`);
    if ((stack.pending_operations ?? []).length > 0)
      throw new Conflict('interrupted operations wait for an answer first; see `plumb pending`');
    if (stack.applied_digest === null && stack.resolved_digest === null)
      throw new Conflict(`nothing was ever run for ${stack.name}, so there is nothing to destroy`);
    const message = `a destroy of everything ${stack.name} made was asked for`;
    return { type: 'DestroyRequested', message, patch: { destroy_requested_by: request.by } };
  });
}

/** A person lets the state's address change to the one the spec asks for. @throws Conflict when no change is held back */
export async function requestRebind(db: Queryable, request: StackRequest): Promise<StackRow> {
  return await ask(db, request, async (_trx, stack) => {
    const held = stack.conditions.some(({ type, reason }) => type === 'Stalled' && reason === 'IdentityChanged');
    if (!held || stack.identity === null)
      throw new Conflict(`the state of ${stack.name} is where it was: change its address in the spec first`);
    const { backend, project, stack: name } = stack.identity;
    const message = `the state of ${stack.name} may move from ${project}/${name} at ${backend}; a person approves the plan that does`;
    return { type: 'RebindRequested', message, patch: { ...TRY_AGAIN, rebind_by: request.by } };
  });
}

/** A person answers for a state that something other than Plumbline wrote, and for the code it holds. */
export async function acceptState(db: Queryable, request: StackRequest & { checkpoint: string }): Promise<StackRow> {
  const { checkpoint } = request;
  return await ask(db, request, async (_trx, stack) => ({
    type: 'StateAccepted',
    message: `the state ${checkpoint} of ${stack.name} was accepted, with what it holds`,
    patch: { ...TRY_AGAIN, accepted_checkpoint: checkpoint },
  }));
}

/**
 * A person's word that a missing resource may leave the state; the next reconcile carries it out.
 * @throws Conflict when the last check does not report it as missing.
 */
export async function requestAcceptMissing(db: Queryable, request: StackRequest & { urn: string }): Promise<StackRow> {
  const { urn, by } = request;
  return await ask(db, request, async (trx, stack) => {
    const found = await listDrift(trx, stack.id);
    if (!found.some((item) => item.kind === 'missing' && item.urn === urn))
      throw new Conflict(`the last drift check does not report ${urn} as missing; see \`plumb drift\``);
    const urns = [...new Set([...(stack.accept_missing?.urns ?? []), urn])];
    return {
      type: 'MissingAccepted',
      severity: 'info',
      message: `${urn} is missing and may leave the state`,
      data: { urn },
      patch: { accept_missing: JSON.stringify({ urns, by }) },
    };
  });
}
