import { transient } from '#core/domain/errors.ts';

/**
 * Gives `act` so many milliseconds: each request has limits of its own, but a registry that answers a byte at a time
 * could keep a worker for days by the number of them. The caller's own abort comes through as it is.
 * @throws ReconcileError transient SourceUnreachable with `tooSlow` as its message
 */
export async function within<T>(
  limitMs: number,
  signal: AbortSignal,
  tooSlow: string,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = AbortSignal.timeout(limitMs);
  try {
    return await act(AbortSignal.any([signal, limit]));
  } catch (error) {
    if (signal.aborted || error !== limit.reason) throw error;
    throw transient('SourceUnreachable', tooSlow, error);
  }
}
