import type { FastifyRequest } from 'fastify';
import { getStack } from '#core/store/stacks.ts';
import type { RouteDeps } from './deps.ts';
import { notFound } from './problem.ts';

/** The stack a path names. @throws Problem(not-found) */
export async function requireStack(deps: RouteDeps, at: { tenant: string; stack: string }) {
  const stack = await getStack(deps.db, at.tenant, at.stack);
  if (stack === undefined) throw notFound(`stack ${at.stack} of tenant ${at.tenant}`);
  return stack;
}

/**
 * Rings for a stack after its request is in the database. A bell that does not work is logged and counted only: what
 * was asked is written down, and the sweep finds it (rule 2 of the design).
 */
export async function ringStack(deps: RouteDeps, request: FastifyRequest, stackId: string): Promise<void> {
  try {
    await deps.ring(stackId);
  } catch (error) {
    deps.metrics.ringFailures.inc();
    request.log.warn({ err: error, stackId }, 'the ring failed; the sweep finds the stack');
  }
}
