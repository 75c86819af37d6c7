import type { Checkpoint, EngineRequest } from '#core/engine/port.ts';
import type { WorkerDeps } from '../deps.ts';

const LIMIT_MS = 60_000;

/** What an operation that may not have ended well left in the state; the signal of the run may be what ended it. */
export async function leftState(deps: WorkerDeps, request: EngineRequest): Promise<Checkpoint> {
  return await deps.engine.checkpoint({ ...request, signal: AbortSignal.timeout(LIMIT_MS) });
}
