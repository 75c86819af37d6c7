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
  /** `name|local|path` → version of each pack that ran; the path is shortened in its middle. */
  PolicyPacks?: Record<string, string> | null;
}

/** What a policy said about a resource; the level is `advisory` or `mandatory`. */
export interface PolicyEvent {
  resourceUrn?: string;
  message: string;
  policyName: string;
  policyPackName: string;
  enforcementLevel: string;
}

/** A change a policy made to the inputs of a resource. */
export interface PolicyRemediationEvent {
  resourceUrn?: string;
  policyName: string;
  policyPackName: string;
  before?: Record<string, unknown>;
  after?: Record<string, unknown>;
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
  policyLoadEvent?: unknown;
  policyEvent?: PolicyEvent;
  policyRemediationEvent?: PolicyRemediationEvent;
  policyAnalyzeStackSummaryEvent?: { policyPackName: string };
}

/** What the policy packs said in one phase. */
export interface PhasePolicies {
  violations: PolicyEvent[];
  remediations: PolicyRemediationEvent[];
  /** Packs that were asked about the whole stack, which is the last thing a pack is asked. */
  finished: string[];
  /** Some were not kept. */
  isCut: boolean;
}

/** What is kept of one phase: a preview, or one half of an `up` that previews first. */
export interface Phase {
  steps: StepMetadata[];
  outputs: StepMetadata[];
  policies: PhasePolicies;
  summary: Summary | undefined;
  ended: boolean;
}

/** A stream as far as it came. */
export interface EventLog {
  phases: Phase[];
  /** Packs that began to load; they do before the first phase. */
  packsLoaded: number;
  /** Errors the program, a provider or the engine reported, in order. */
  errors: Diagnostic[];
}

/** More errors than this, or longer ones, say nothing new; a program writes them. */
const MAX_ERRORS = 50;
const MAX_ERROR_CHARS = 16_384;
/** Violations and remediations of a phase that are kept; nobody reads more. */
export const MAX_POLICY_EVENTS = 2_000;

export function newEventLog(): EventLog {
  return { phases: [], packsLoaded: 0, errors: [] };
}

/** A phase that has just begun. */
export function newPhase(): Phase {
  const policies = { violations: [], remediations: [], finished: [], isCut: false };
  return { steps: [], outputs: [], policies, summary: undefined, ended: false };
}

function recordPolicies(policies: PhasePolicies, event: EngineEvent): void {
  const { policyEvent, policyRemediationEvent, policyAnalyzeStackSummaryEvent: finished } = event;
  if (finished) policies.finished.push(finished.policyPackName);
  if (policyEvent === undefined && policyRemediationEvent === undefined) return;
  if (policies.violations.length + policies.remediations.length >= MAX_POLICY_EVENTS) policies.isCut = true;
  else if (policyEvent) policies.violations.push(policyEvent);
  else if (policyRemediationEvent) policies.remediations.push(policyRemediationEvent);
}

/** Adds one event. Does no I/O: the engine waits for each event to be taken. */
export function recordEvent(log: EventLog, event: EngineEvent): void {
  if (event.preludeEvent) log.phases.push(newPhase());
  if (event.policyLoadEvent) log.packsLoaded += 1;
  const phase = log.phases.at(-1);
  if (event.diagnosticEvent?.severity === 'error' && log.errors.length < MAX_ERRORS)
    log.errors.push({ ...event.diagnosticEvent, message: event.diagnosticEvent.message.slice(0, MAX_ERROR_CHARS) });
  if (phase === undefined) return;
  if (event.resourcePreEvent) phase.steps.push(event.resourcePreEvent.metadata);
  if (event.resOutputsEvent) phase.outputs.push(event.resOutputsEvent.metadata);
  recordPolicies(phase.policies, event);
  if (event.summaryEvent) phase.summary = event.summaryEvent;
  if (event.cancelEvent) phase.ended = true;
}

/** One phase of a complete stream. @throws Error where there is none, which is a defect. */
export function phaseOf(log: EventLog, index: number): Phase {
  const phase = log.phases[index];
  if (phase === undefined) throw new Error(`the engine's events have no phase ${index}`);
  return phase;
}

/** A cut stream reads as "nothing to do", so each expected phase must have its prelude, summary and end. */
export function isComplete(log: EventLog, phases: number): boolean {
  return log.phases.length === phases && log.phases.every((phase) => phase.summary !== undefined && phase.ended);
}
