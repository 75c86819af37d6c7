import { appendLog } from '#core/store/logs.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { WorkerDeps } from './deps.ts';

/** Who follows a log sees a piece this long after it was printed, and the time of a look at the database. */
const FLUSH_MS = 200;

/**
 * Collects a run's output and writes it to the log store in pieces; the engine never waits for the database. What is over the
 * limit of a run's output is not even collected: the store says that it was dropped.
 */
export function runLog(deps: WorkerDeps, run: RunRow): { write(text: string): void; close(): Promise<void> } {
  const maxBytes = deps.config.PLUMBLINE_MAX_OUTPUT_KB * 1024;
  // A secret may be split over two pieces.
  const scrub = deps.scrubber.stream();
  let waiting = '';
  let taken = 0;
  let timer: NodeJS.Timeout | undefined;
  let writing = Promise.resolve();
  const store = (text: string) => {
    if (text === '') return;
    writing = writing
      .then(() => appendLog(deps.db, { tenant: run.tenant, runId: run.id, text, maxBytes }))
      .catch((error: unknown) => deps.logger.warn({ err: error, run: run.id }, 'run output not stored'));
  };
  const flush = () => {
    timer = undefined;
    const text = waiting;
    waiting = '';
    store(scrub.write(text));
  };
  return {
    write: (text) => {
      // The piece that goes over the limit is still handed on, so that the store cuts it and says so.
      if (taken > maxBytes) return;
      taken += Buffer.byteLength(text);
      waiting += text;
      timer ??= setTimeout(flush, FLUSH_MS);
    },
    close: async () => {
      clearTimeout(timer);
      flush();
      store(scrub.end());
      await writing;
    },
  };
}
