/**
 * Events of the engine, from sdk/go/common/apitype/events.go: the SDK's own types lack several. Secret values arrive
 * as `[secret]` already.
 */
export interface StepState {
  type: string;
  urn: string;
  id?: string;
  custom?: boolean;
  protect?: boolean;
  retainOnDelete?: boolean;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

export interface StepMetadata {
  op: string;
  urn: string;
  type: string;
  old: StepState | null;
  new: StepState | null;
  /** Properties that force a replacement. */
  keys?: string[] | null;
  /** Properties that differ. */
  diffs?: string[] | null;
  detailedDiff?: Record<string, { diffKind: string; inputDiff: boolean }> | null;
}

export interface Diagnostic {
  urn?: string;
  message: string;
  severity: string;
}

export interface Summary {
  resourceChanges: Record<string, number> | null;
  isPreview?: boolean;
  result?: string;
}

/** One message of the stream; exactly one of the events is set. */
export interface EngineEvent {
  preludeEvent?: unknown;
  cancelEvent?: unknown;
  summaryEvent?: Summary;
  diagnosticEvent?: Diagnostic;
  resourcePreEvent?: { metadata: StepMetadata; planning?: boolean };
  resOutputsEvent?: { metadata: StepMetadata; planning?: boolean };
  resOpFailedEvent?: { metadata: StepMetadata; status: number };
}

/** What is kept of one phase: a preview, or one half of an `up` that previews first. */
export interface Phase {
  steps: StepMetadata[];
  outputs: StepMetadata[];
  summary: Summary | undefined;
  ended: boolean;
}

/** A stream as far as it came. */
export interface EventLog {
  phases: Phase[];
  /** Errors the program, a provider or the engine reported, in order. */
  errors: Diagnostic[];
}

/** More errors than this say nothing new. */
const MAX_ERRORS = 50;

export function newEventLog(): EventLog {
  return { phases: [], errors: [] };
}

/** Adds one event. Does no I/O: the engine waits for each event to be taken. */
export function recordEvent(log: EventLog, event: EngineEvent): void {
  if (event.preludeEvent) log.phases.push({ steps: [], outputs: [], summary: undefined, ended: false });
  const phase = log.phases.at(-1);
  if (event.diagnosticEvent?.severity === 'error' && log.errors.length < MAX_ERRORS)
    log.errors.push(event.diagnosticEvent);
  if (phase === undefined) return;
  if (event.resourcePreEvent) phase.steps.push(event.resourcePreEvent.metadata);
  if (event.resOutputsEvent) phase.outputs.push(event.resOutputsEvent.metadata);
  if (event.summaryEvent) phase.summary = event.summaryEvent;
  if (event.cancelEvent) phase.ended = true;
}

/** A cut stream reads as "nothing to do", so each expected phase must have its prelude, summary and end. */
export function isComplete(log: EventLog, phases: number): boolean {
  return log.phases.length === phases && log.phases.every((phase) => phase.summary !== undefined && phase.ended);
}
