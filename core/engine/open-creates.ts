import type { PendingOperation } from '../store/schema.ts';
import type { EngineEvent, EventLog, StepState } from './events.ts';
import type { GuardHooks } from './port.ts';

/**
 * gRPC's own words for a provider that ended or was never reached (grpc-go, tried by kill -9); an answer of the provider's
 * has other words. The engine takes both for a failed create and forgets the operation (backend/snapshot.go,
 * `createSnapshotMutation.End`, 3.259.0), although the resource may exist after the first.
 */
const GONE =
  /^\s*(?:error: )?(?:error reading from server|error reading response|transport is closing|connection error: desc|the connection is draining|closing transport due to|the client connection is closing|keepalive ping failed|stream terminated by RST_STREAM|(?:unexpected )?EOF)/;

const CREATES = new Set(['create', 'create-replacement']);

/** Empty fields are absent in a state. */
function resourceOf(step: StepState): Record<string, unknown> {
  const known = Object.entries(step).filter(([, value]) => value !== '' && value !== null && value !== false);
  return { ...Object.fromEntries(known), custom: true, inputs: step.inputs ?? {}, outputs: {} };
}

/** The create that an event says has failed because its provider was gone before it answered; undefined for every other event. */
export function unansweredCreate(event: EngineEvent, log: EventLog): PendingOperation | undefined {
  const step = event.resOpFailedEvent?.metadata;
  if (step === undefined || step.new === null || !CREATES.has(step.op)) return undefined;
  const isGone = log.errors.some(({ urn, message }) => urn === step.urn && GONE.test(message));
  if (!isGone) return undefined;
  return { urn: step.urn, type: step.type, operation: 'creating', resource: resourceOf(step.new) };
}

/** Watches a stream for creates without an answer and has each written down at once; `settled` waits for the writing. */
export function watchCreates(guard: GuardHooks, log: EventLog) {
  let written = Promise.resolve();
  return {
    see(event: EngineEvent): void {
      const open = unansweredCreate(event, log);
      if (open === undefined || guard.leftOpen === undefined) return;
      const note = guard.leftOpen(open);
      written = written.then(() => note);
      // Thrown by `settled`.
      written.catch(() => undefined);
    },
    settled: () => written,
  };
}
