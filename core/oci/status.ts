import { stalled, transient, waiting } from '#core/domain/errors.ts';
import { errorText } from './body.ts';
import type { HttpResponse } from './http.ts';
import { retryAfterMs } from './retry.ts';

/** How long to wait after "too many requests" that names no time, in milliseconds. */
const DEFAULT_THROTTLE_MS = 1_000;

/**
 * Throws for every answer that is not a success; `what` starts the message. Retried by `withRetries`: 408, 429 and 5xx.
 * @throws ReconcileError SourceUnauthorized (401, 403), SourceNotFound (404), SourceUnreachable (all others)
 */
export async function assertAnswered(response: HttpResponse, what: string): Promise<void> {
  const { status } = response;
  if (status >= 200 && status < 300) return;
  const detail = await errorText(response);
  const note = response.note === undefined ? '' : `: ${response.note}`;
  const text = `${what} answered ${status}${detail === '' ? '' : ` (${detail})`}${note}`;
  if (status === 401 || status === 403) {
    throw stalled('SourceUnauthorized', `${text}; check spec.source.credentials and that the repository exists`);
  }
  // Not stalled: whatever is missing may be pushed any moment.
  if (status === 404) throw transient('SourceNotFound', `${text}; push it, or correct its address`);
  if (status === 408 || status === 429 || status >= 500) {
    const after = retryAfterMs(response.header('retry-after'), new Date());
    if (after !== undefined || status === 429) throw waiting('SourceUnreachable', text, after ?? DEFAULT_THROTTLE_MS);
  }
  throw transient('SourceUnreachable', text);
}
