import { ReconcileError, stalled, transient, type ErrorKind } from '../domain/errors.ts';
import type { Reason } from '../domain/reason.ts';
import { urnName } from '../domain/urn.ts';
import type { EventLog } from './events.ts';

/** What the engine was doing when it failed. */
export type EngineOperation = 'preview' | 'apply' | 'destroy' | 'refresh' | 'drift' | 'state';

/** Everything known about an engine process that did not end well. */
export interface EngineFailure {
  operation: EngineOperation;
  code: number;
  /** Stdout and stderr. */
  text: string;
  log: EventLog;
  /** Cut out of messages: the folder is gone by the time they are read. */
  programDir: string;
  scrub(text: string): string;
}

interface Rule {
  snippet: RegExp;
  kind: ErrorKind;
  reason: Reason;
  advice: string;
  /** Only before the first prelude: later, a program or provider may use the same words. */
  early?: true;
  /** Only where policy packs run: elsewhere a program or provider may use the same words. */
  withPacks?: true;
}

/** What the engine's texts mean (3.259.0). The only place that matches on them. */
const RULES: readonly Rule[] = [
  {
    snippet:
      /[^\n]*(?:failed to (?:run policy|run remediation|analyze resources|get analyzer info)|policy pack [^\n]*no answer within)[^\n]*/,
    kind: 'transient',
    reason: 'PolicyPackFailed',
    advice: 'nothing is known about its policies; correct the pack, or remove it from spec.pulumi.policyPacks',
    withPacks: true,
  },
  {
    snippet:
      /policy pack [^\n]*failed to start[^\n]*|[^\n]*Pulumi policy project[^\n]*|[^\n]*(?:validating|reconciling|loading) policy (?:pack )?config[^\n]*|policy pack [^\n]*does not support config[^\n]*|configuring policy pack [^\n]*/,
    kind: 'stalled',
    reason: 'PolicyPackFailed',
    advice: 'the pack does not load; correct it or its settings, or remove it from spec.pulumi.policyPacks',
    withPacks: true,
  },
  {
    snippet: /the stack is currently locked by[^]*/,
    kind: 'transient',
    reason: 'StateLocked',
    advice: 'wait for the other update to end; if its machine is gone, delete exactly that lock (see docs/backends.md)',
  },
  {
    snippet:
      /(?:get stack secrets manager(?![^]{0,300}incorrect passphrase)|constructing secrets manager of type "(?:cloud|service)")[^]{0,600}|secrets \(code=\w+\)[^]{0,600}/,
    kind: 'transient',
    reason: 'SecretsProviderFailed',
    advice:
      'check the key in spec.pulumi.secretsProvider and that the credentials of the phase may decrypt with it; see docs/secrets.md',
    early: true,
  },
  {
    snippet: /incorrect passphrase|constructing secrets manager[^\n]*|decrypting secret[^\n]*/,
    kind: 'stalled',
    reason: 'StateMovedOutside',
    advice:
      "the state is encrypted with a passphrase that is not this stack's; restore the state this stack wrote, or name the passphrase of a state that was there before in spec.pulumi.passphrase",
    early: true,
  },
  {
    snippet: /failed to load checkpoint: [^\n]*|could not deserialize deployment[^\n]*/,
    kind: 'stalled',
    reason: 'StateInvalid',
    advice:
      'the state is cut, or no state; restore it from a backup (the backend keeps them under .pulumi/backups). Nothing was run or changed',
    early: true,
  },
  {
    snippet:
      /read "\.pulumi\/meta\.yaml"[^\n]*|could not list bucket[^\n]*|^error: Unauthorized: [^\n]*|performing HTTP request: [^\n]*|failed to (?:ping|connect to) PostgreSQL[^\n]*/m,
    kind: 'transient',
    reason: 'BackendUnreachable',
    advice:
      'check spec.pulumi.backend, and that the credentials of the phase may read and write there (docs/backends.md)',
    early: true,
  },
  {
    snippet: /no stack named [^\n]*found/,
    kind: 'stalled',
    reason: 'StateRegressed',
    advice: 'the state is gone; restore it from a backup, or rebind the stack if that is intended',
  },
  {
    snippet:
      /no resource plugin [^\n]*found[^\n]*|could not (?:find|load) plugin [^\n]*|failed to load plugin [^\n]*|could not automatically download[^\n]*|automatic plugin acquisition[^\n]*/i,
    kind: 'stalled',
    reason: 'PluginUnavailable',
    advice: 'install the provider plugin on the workers, or check that they can download it',
  },
  {
    snippet: /failed to load language plugin [^\n]*|no language plugin [^\n]*/,
    kind: 'stalled',
    reason: 'ProgramInvalid',
    advice: 'this installation has no host for the runtime in Pulumi.yaml',
  },
  {
    snippet:
      /unable to open [^\n]*|could not (?:open|read) (?:the )?(?:bucket|backend)[^\n]*|problem logging in[^\n]*|unable to check if bucket [^\n]*|failed to connect to postgres[^\n]*|pq: [^\n]*|opening (?:state )?backend[^\n]*/,
    kind: 'transient',
    reason: 'BackendUnreachable',
    advice: 'check spec.pulumi.backend and its credentials',
    early: true,
  },
];

/** Whether a diagnostic says why something failed, and not just that it did. */
export function saysWhy(message: string): boolean {
  const text = tidy(message);
  return text !== '' && !USELESS.test(text);
}

/** Goals and inputs, a step of another kind, a resource nobody planned (deploy/step_generator.go, step_executor.go). */
const EXCEEDED =
  /[^\n]*(?:violates plan|is not allowed by the plan:|Expected a new resource plan for|resource plan goal (?:type|name))[^\n]*/;
const NOT_SEEN = /expected resource operations for [^\n]*none were seen[^\n]*/;

/** What the plan did not allow. The engine also misses what it did not come to because another resource failed: that is none. */
function violationIn(text: string, log: EventLog): string | undefined {
  const exceeded = EXCEEDED.exec(text)?.[0];
  if (exceeded !== undefined) {
    // The words for a step do not name the resource; its diagnostic does.
    const { urn = '' } = log.errors.find(({ message }) => EXCEEDED.test(message)) ?? {};
    const name = urnName(urn);
    return name === '' || exceeded.includes(urn) ? exceeded : `${name}: ${exceeded.trim()}`;
  }
  const failed = log.errors.some(({ urn, message }) => urn !== undefined && urn !== '' && saysWhy(message));
  return failed ? undefined : NOT_SEEN.exec(text)?.[0];
}

const FAILED: Record<EngineOperation, Reason> = {
  preview: 'PreviewFailed',
  apply: 'ApplyFailed',
  destroy: 'ApplyFailed',
  refresh: 'RefreshFailed',
  drift: 'DriftCheckFailed',
  state: 'BackendUnreachable',
};

/** The engine's last words, which repeat that it failed and not why. */
const USELESS = /^(?:error: )?(?:preview|update|refresh|destroy) failed$/;
const MAX_MESSAGE_CHARS = 2_000;
const MAX_MESSAGE_LINES = 12;

/** Frames of a stack that lie outside the program. */
const FOREIGN_FRAME = /^\s+at .*(?:node_modules|node:|<anonymous>)/;

/** Without the colour marks of the engine, which stay in its diagnostics even without colours. */
export function withoutColour(text: string): string {
  return text.replaceAll(/<\{%[^%]*%\}>/g, '').trim();
}

function tidy(text: string): string {
  const lines = withoutColour(text)
    .split('\n')
    .filter((line) => !FOREIGN_FRAME.test(line));
  return lines.slice(0, MAX_MESSAGE_LINES).join('\n').slice(0, MAX_MESSAGE_CHARS);
}

/** The first thing that says why: a diagnostic of the engine, else the end of its output. */
function firstUseful(failure: EngineFailure): string {
  for (const { message, urn } of failure.log.errors) {
    const text = tidy(message);
    if (!saysWhy(message)) continue;
    const name = urnName(urn ?? '');
    return name === '' ? text : `${name}: ${text}`;
  }
  const lines = failure.text.split('\n').filter((line) => line.trim() !== '');
  return tidy(lines.slice(-MAX_MESSAGE_LINES).join('\n'));
}

/** A violation before the second prelude of an `up` is found while nothing has changed. */
function violation(failure: EngineFailure, found: string): ReconcileError {
  const line = tidy(found);
  if (failure.log.phases.length < 2)
    return transient('PlanStale', `the approved plan does not hold, nothing was changed: ${line}`);
  return stalled(
    'PlanExceeded',
    `the apply stopped midway at something the approved plan did not allow: ${line}. Approve the plan of the rest`,
  );
}

/** Gives a failed engine process its kind, reason and a message that says why. */
export function classifyFailure(failure: EngineFailure): ReconcileError {
  const clean = (said: string) =>
    failure.scrub(said).replaceAll(new RegExp(`(?:file://)?${RegExp.escape(failure.programDir)}/`, 'g'), '');
  const text = clean(`${failure.log.errors.map((error) => error.message).join('\n')}\n${failure.text}`);
  const violated = failure.operation === 'apply' ? violationIn(text, failure.log) : undefined;
  if (violated !== undefined) return violation(failure, violated);
  const isEarly = failure.log.phases.length === 0;
  for (const { snippet, kind, reason, advice, early, withPacks } of RULES) {
    if ((early && !isEarly) || (withPacks && failure.log.packsLoaded === 0)) continue;
    const found = snippet.exec(text);
    if (found) return new ReconcileError({ kind, reason, message: `${tidy(found[0])}: ${advice}` });
  }
  const why = clean(firstUseful(failure));
  return transient(
    FAILED[failure.operation],
    why === '' ? `the engine ended with code ${failure.code} and no word` : why,
  );
}

/** A stream that was cut reads as "nothing to do"; its result is not believed. */
export function eventsIncomplete(operation: EngineOperation): ReconcileError {
  return transient(
    'EventsIncomplete',
    `the ${operation}'s event stream was cut, so what it found is not known; it is tried again`,
  );
}
