import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';

const REQUEST_MS = 30_000;
/** What was measured: milliseconds of every request; those that had no answer within the limit count with the limit. */
export interface LoadTimes {
  times: number[];
  late: number;
}

/** More than any healthy answer needs at once; a service that falls behind is seen as waiting time. */
const CONNECTIONS = 64;

export interface Load {
  origin: string;
  request(): { path: string; method: 'GET' | 'POST'; headers?: Record<string, string>; body?: string };
  expected: number;
  perSecond: number;
  seconds: number;
  signal: AbortSignal;
}

/**
 * Sends requests at fixed moments, however late the answers are, and gives the milliseconds from each request's moment to
 * the end of its answer. Counting from the moment and not from the sending keeps a stalled service from hiding its own
 * stall (coordinated omission).
 * @throws Error when an answer has another status than `expected` or the connection fails.
 */
export async function measureLoad(load: Load): Promise<LoadTimes> {
  const pool = new Pool(load.origin, { connections: CONNECTIONS });
  const failed = new AbortController();
  const stop = AbortSignal.any([load.signal, failed.signal]);
  let late = 0;
  const send = async (dueMs: number): Promise<number> => {
    const limit = AbortSignal.timeout(REQUEST_MS);
    try {
      const answer = await pool.request({ ...load.request(), signal: AbortSignal.any([stop, limit]) });
      await answer.body.dump();
      if (answer.statusCode !== load.expected) throw new Error(`expected ${load.expected}, got ${answer.statusCode}`);
    } catch (error) {
      if (!limit.aborted || stop.aborted) throw error;
      late += 1;
    }
    return performance.now() - dueMs;
  };
  const sent: Promise<number>[] = [];
  try {
    const startMs = performance.now();
    for (let index = 0; index < load.perSecond * load.seconds; index += 1) {
      const dueMs = startMs + (index * 1000) / load.perSecond;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await delay(waitMs, undefined, { signal: stop });
      const answer = send(dueMs);
      answer.catch((error: unknown) => failed.abort(error));
      sent.push(answer);
    }
    const times = await Promise.all(sent);
    return { times, late };
  } catch (error) {
    // The first failure aborted the rest; theirs say nothing.
    throw failed.signal.aborted ? failed.signal.reason : error;
  } finally {
    await pool.destroy();
  }
}
