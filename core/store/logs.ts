import { sql } from 'kysely';
import type { Queryable } from './database.ts';
import { storableText } from './storable.ts';

/** Bytes of a run's output that are kept unless the caller says otherwise. */
const MAX_LOG_BYTES = 512 * 1024;

/** Cuts a text to at most `bytes` of UTF-8, never inside a character. */
function cutTo(text: string, bytes: number): string {
  const buffer = Buffer.from(text);
  if (buffer.length <= bytes) return text;
  return buffer
    .subarray(0, Math.max(0, bytes))
    .toString('utf8')
    .replace(/\uFFFD+$/, '');
}

/** Keeps a piece of a run's output, scrubbed by the caller. What is over the limit is dropped, and said so once. */
export async function appendLog(
  db: Queryable,
  piece: { tenant: string; runId: string; text: string; maxBytes?: number },
): Promise<void> {
  const max = piece.maxBytes ?? MAX_LOG_BYTES;
  const { kept } = await db
    .selectFrom('run_logs')
    .select(sql<number>`coalesce(sum(octet_length(text)), 0)::float8`.as('kept'))
    .where('run_id', '=', piece.runId)
    .executeTakeFirstOrThrow();
  // Only the note takes a log over its limit.
  if (kept > max || piece.text === '') return;
  const whole = storableText(piece.text);
  const text = cutTo(whole, max - kept);
  const note = `\n[output over ${max} bytes is dropped]\n`;
  const isCut = text.length < whole.length;
  const stored = isCut ? text + note : text;
  await db.insertInto('run_logs').values({ tenant: piece.tenant, run_id: piece.runId, text: stored }).execute();
}

/** A run's output, oldest first. */
export async function readLog(db: Queryable, at: { tenant: string; runId: string }): Promise<string> {
  const rows = await db
    .selectFrom('run_logs')
    .select('text')
    .where('run_id', '=', at.runId)
    .where('tenant', '=', at.tenant)
    .orderBy('id')
    .execute();
  return rows.map((row) => row.text).join('');
}

/** Pieces of a followed log that are read at once. */
const MAX_PIECES = 64;

/** What of a log is new, and whether the run that writes it is over. */
export interface LogNews {
  pieces: { id: string; text: string }[];
  finished: boolean;
  /** State of the run. */
  state: string;
}

/**
 * What came after a piece, oldest first, in one question. One worker writes a run's pieces one after another, so their ids come
 * in order and none appears behind one that was read.
 */
export async function readLogNews(
  db: Queryable,
  at: { tenant: string; runId: string; after: string },
): Promise<LogNews | undefined> {
  const rows = await db
    .selectFrom('runs')
    .leftJoin('run_logs', (join) => join.onRef('run_logs.run_id', '=', 'runs.id').on('run_logs.id', '>', at.after))
    .select(['runs.state', 'runs.finished_at', 'run_logs.id as piece', 'run_logs.text'])
    .where('runs.id', '=', at.runId)
    .where('runs.tenant', '=', at.tenant)
    .orderBy('run_logs.id')
    .limit(MAX_PIECES)
    .execute();
  const [first] = rows;
  if (first === undefined) return undefined;
  return {
    pieces: rows.flatMap(({ piece, text }) => (piece === null ? [] : [{ id: piece, text: text ?? '' }])),
    finished: first.finished_at !== null,
    state: first.state,
  };
}
