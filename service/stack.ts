import type { FastifyRequest } from 'fastify';
import type { StackView } from '#core/domain/view.ts';
import { actorOf } from '#core/domain/authorize.ts';
import type { QueueName } from '#core/queue.ts';
import type { StackRequest } from '#core/store/requests.ts';
import { getRun, liveRun, type RunRow } from '#core/store/runs.ts';
import { getStack, type StackRow } from '#core/store/stacks.ts';
import { liveWorkers } from '#core/store/workers.ts';
import { principalOf } from './auth.ts';
import type { RouteDeps } from './deps.ts';
import { notFound } from './problem.ts';
import { stackView } from './views.ts';
import type { Surroundings } from './why.ts';

/** The stack a path names. @throws Problem(not-found) */
export async function requireStack(deps: RouteDeps, at: { tenant: string; stack: string }): Promise<StackRow> {
  const stack = await getStack(deps.db, at.tenant, at.stack);
  if (stack === undefined) throw notFound(`stack ${at.stack} of tenant ${at.tenant}`);
  return stack;
}

/** The run a path names. @throws Problem(not-found) */
export async function requireRun(
  deps: RouteDeps,
  at: { tenant: string; stack: string; number: number },
): Promise<RunRow> {
  const stack = await requireStack(deps, at);
  const run = await getRun(deps.db, at.tenant, stack.id, at.number);
  if (run === undefined) throw notFound(`run ${at.number} of stack ${at.stack}`);
  return run;
}

/** What explains a stack beside its row. */
export async function surroundings(deps: RouteDeps, tenant: string): Promise<Surroundings> {
  const workers = await liveWorkers(deps.db, { tenant });
  return { now: deps.now(), hasWorker: workers.length > 0 };
}

/** The stack with its unfinished run, as it is answered. */
export async function showStack(deps: RouteDeps, stack: StackRow): Promise<StackView> {
  return stackView(stack, await liveRun(deps.db, stack.id), await surroundings(deps, stack.tenant));
}

/** What a store function wants to know of a request on a stack. @throws Problem(not-found) */
export async function requestOn(
  deps: RouteDeps,
  request: FastifyRequest,
  at: { tenant: string; stack: string },
): Promise<StackRequest> {
  const stack = await requireStack(deps, at);
  return { tenant: stack.tenant, stackId: stack.id, by: actorOf(principalOf(request)) };
}

/** Writes down what a person asks of a stack, rings for it and answers with the stack as it is then. @throws like `ask` */
export async function askStack(
  deps: RouteDeps,
  request: FastifyRequest,
  at: { tenant: string; stack: string },
  ask: (on: StackRequest) => Promise<StackRow>,
  queue?: QueueName,
): Promise<StackView> {
  const on = await requestOn(deps, request, at);
  const stack = await ask(on);
  await ringStack(deps, on, queue);
  return await showStack(deps, stack);
}

/** Rings for a stack after its request is in the database. It never fails: what is not heard is found by the sweep. */
export async function ringStack(
  deps: RouteDeps,
  at: { tenant: string; stackId: string },
  queue: QueueName = 'reconcile',
): Promise<void> {
  await deps.ring.ring(at.tenant, at.stackId, queue);
}
