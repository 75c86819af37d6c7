import { appendLog } from '#core/store/logs.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { WorkerDeps } from './deps.ts';

/** Collects a run's output and writes it to the log store in pieces; the engine never waits for the database. */
export function runLog(deps: WorkerDeps, run: RunRow): { write(text: string): void; close(): Promise<void> } {
  let waiting = '';
  let writing = Promise.resolve();
  const flush = () => {
    const text = waiting;
    waiting = '';
    if (text === '') return;
    writing = writing
      .then(() => appendLog(deps.db, { tenant: run.tenant, runId: run.id, text: deps.scrubber.scrub(text) }))
      .catch((error: unknown) => deps.logger.warn({ err: error, run: run.id }, 'run output not stored'));
  };
  const timer = setInterval(flush, 1000);
  return {
    write: (text) => void (waiting += text),
    close: async () => {
      clearInterval(timer);
      flush();
      await writing;
    },
  };
}
