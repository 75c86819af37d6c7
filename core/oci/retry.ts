import { setTimeout as sleep } from 'node:timers/promises';
import { ReconcileError } from '#core/domain/errors.ts';

export interface RetryPolicy {
  /** Attempts in all. */
  attempts: number;
  /** First delay in milliseconds; doubled each time, with 10 % jitter, up to `maxMs`. */
  baseMs: number;
  maxMs: number;
  /** The longest Retry-After that is slept here; a longer one goes to the caller as `waiting`. */
  maxSleepMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 5, baseMs: 250, maxMs: 3_000, maxSleepMs: 60_000 };

/** No registry may silence a stack for longer than this. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/** RFC 9110, section 5.6.7, IMF-fixdate; `Date.parse` alone would take `1.5` for a day. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** Milliseconds of a Retry-After header, seconds or HTTP date (RFC 9110, section 10.2.3); undefined if unreadable. */
export function retryAfterMs(header: string | undefined, now: Date): number | undefined {
  if (header === undefined) return undefined;
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Math.min(Number(text) * 1000, MAX_RETRY_AFTER_MS);
  const at = HTTP_DATE.test(text) ? Date.parse(text) - now.getTime() : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.min(Math.max(at, 0), MAX_RETRY_AFTER_MS);
}

function delayOf(error: unknown, attempt: number, policy: RetryPolicy): number | undefined {
  if (!(error instanceof ReconcileError) || error.reason !== 'SourceUnreachable') return undefined;
  const backoff = Math.min(policy.baseMs * 2 ** attempt, policy.maxMs) * (0.9 + Math.random() * 0.2);
  if (error.kind === 'transient') return backoff;
  if (error.kind !== 'waiting') return undefined;
  const wanted = Math.max(error.retryAfterMs ?? 0, backoff);
  return wanted <= policy.maxSleepMs ? wanted : undefined;
}

/** Tries again after SourceUnreachable errors, as long as the policy allows; the last error is thrown. */
export async function withRetries<T>(policy: RetryPolicy, signal: AbortSignal, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      const delay = tries + 1 < policy.attempts ? delayOf(error, tries, policy) : undefined;
      if (delay === undefined) throw error;
      await sleep(delay, undefined, { signal }).catch((stopped: unknown) => {
        throw signal.aborted ? signal.reason : stopped;
      });
    }
  }
}
