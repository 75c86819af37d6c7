import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '#core/store/database.ts';
import { readLogNews } from '#core/store/logs.ts';

/** One question a follower this often; with the worker's own pause a piece is seen within a second. */
const POLL_MS = 700;

/** A connection that nothing is sent on is closed by what lies between. */
const PING_MS = 15_000;

/** The worker writes the last piece just after it has written down how the run ended. */
const LAST_LOOKS = 2;

/** Milliseconds one connection is kept; who follows comes again with the id of the last piece. */
export const FOLLOW_MS = 60 * 60_000;

function message(fields: { id?: string; event: string; data: unknown }): string {
  const id = fields.id === undefined ? '' : `id: ${fields.id}\n`;
  return `${id}event: ${fields.event}\ndata: ${JSON.stringify(fields.data)}\n\n`;
}

/**
 * A run's output as server-sent events, from a piece on: `output` with a piece of text, and `end` with the state of the run when
 * it is over and everything was told. Reads only as fast as it is read, and ends with the signal.
 */
export async function* followLog(
  db: Database,
  at: { tenant: string; runId: string; after: string },
  signal: AbortSignal,
): AsyncGenerator<string> {
  const end = performance.now() + FOLLOW_MS;
  let { after } = at;
  let quietSince = performance.now();
  let empty = 0;
  yield ': following\n\n';
  while (!signal.aborted && performance.now() < end) {
    const news = await readLogNews(db, { ...at, after });
    if (news === undefined) return;
    for (const piece of news.pieces) {
      yield message({ id: piece.id, event: 'output', data: piece.text });
      after = piece.id;
      quietSince = performance.now();
    }
    if (news.pieces.length > 0) {
      empty = 0;
    } else if (news.finished && ++empty >= LAST_LOOKS) {
      yield message({ event: 'end', data: { state: news.state } });
      return;
    }
    if (performance.now() - quietSince > PING_MS) {
      yield ': still here\n\n';
      quietSince = performance.now();
    }
    await delay(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}
