import type { Reason } from './reason.ts';

/**
 * What the reconciler does with an error: `stalled` waits for a person, `waiting` comes back at a known time,
 * `transient` is retried with back-off.
 */
export const ERROR_KINDS = ['stalled', 'waiting', 'transient'] as const;
export type ErrorKind = (typeof ERROR_KINDS)[number];

export interface ReconcileErrorOptions {
  kind: ErrorKind;
  reason: Reason;
  /** What happened, where, and what to do next. Never holds a secret; cut at 4,000 characters. */
  message: string;
  /** For `waiting`: when to look again, in milliseconds from now. */
  retryAfterMs?: number;
  cause?: unknown;
}

const MAX_MESSAGE = 4_000;

/** Messages quote what strangers wrote, and go to terminals and into rows: no control characters, and an end. */
function readable(text: string): string {
  const cut = text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE - 1)}…` : text;
  return cut.replace(/(?![\n\t])[\p{Cc}\p{Cf}]/gu, ' ');
}

/** The one error that carries policy; everything else that reaches the rim counts as `transient(InternalError)`. */
export class ReconcileError extends Error {
  readonly kind: ErrorKind;
  readonly reason: Reason;
  readonly retryAfterMs: number | undefined;

  constructor(options: ReconcileErrorOptions) {
    super(readable(options.message), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ReconcileError';
    this.kind = options.kind;
    this.reason = options.reason;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** A person has to change something before another attempt makes sense. */
export function stalled(reason: Reason, message: string, cause?: unknown): ReconcileError {
  return new ReconcileError({ kind: 'stalled', reason, message, cause });
}

/** Nothing is wrong; look again after `retryAfterMs`. */
export function waiting(reason: Reason, message: string, retryAfterMs: number): ReconcileError {
  return new ReconcileError({ kind: 'waiting', reason, message, retryAfterMs });
}

/** Likely to pass by itself; retried with back-off. */
export function transient(reason: Reason, message: string, cause?: unknown): ReconcileError {
  return new ReconcileError({ kind: 'transient', reason, message, cause });
}

/** Gives every thrown value a kind and a reason; unknown ones are transient so that nothing is frozen by a bug. */
export function asReconcileError(thrown: unknown): ReconcileError {
  if (thrown instanceof ReconcileError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return transient('InternalError', message, thrown);
}

/** Makes an exhaustive `switch` fail to compile when a case is missing. */
export function unreachable(value: never): never {
  throw new Error(`unexpected value: ${JSON.stringify(value)}`);
}
