import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ensureDirectory, ifPresent, listDirectory, removeDurably, writeDurably } from './durable-file.ts';
import { EVENTS_TYPE, type RegistryEvent } from './event.ts';
import type { Layout } from './layout.ts';
import type { RegistryLog } from './log.ts';

/** Where events are sent. `headers` hold the credentials and are never logged. */
export interface NotificationEndpoint {
  url: string;
  /** Names the queue on disk, so that it survives a receiver that moves to another URL; by default it is the URL's own. */
  name?: string;
  headers?: Record<string, string>;
  /** Milliseconds one delivery may take; 5000 by default. */
  timeoutMs?: number;
  /** Longest pause between two tries in milliseconds; 5000 by default. The first is 100 ms, each next twice as long. */
  maxBackoffMs?: number;
}

/** Delivers events at least once and in order, across restarts. */
export interface Notifier {
  /** Resolves when the event is safe on disk for every endpoint; delivery goes on by itself. */
  publish(event: RegistryEvent): Promise<void>;
  /** Stops delivering; what is not delivered stays on disk. */
  close(): Promise<void>;
}

const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5000;
/** A receiver that is away longer than this learns the rest by looking at the registry itself. */
const MAX_AGE_MS = 24 * 60 * 60 * 1000;

/** Opens the queues on disk and goes on delivering what an earlier process left in them. */
export async function startNotifier(
  layout: Layout,
  endpoints: NotificationEndpoint[],
  log: RegistryLog,
): Promise<Notifier> {
  const queues = await Promise.all(endpoints.map((endpoint) => openQueue(layout, endpoint, log)));
  return {
    async publish(event) {
      await Promise.all(queues.map((queue) => queue.add(event)));
    },
    async close() {
      await Promise.all(queues.map((queue) => queue.close()));
    },
  };
}

async function openQueue(layout: Layout, endpoint: NotificationEndpoint, log: RegistryLog) {
  const folder = join(
    layout.events,
    createHash('sha256')
      .update(endpoint.name ?? endpoint.url)
      .digest('hex')
      .slice(0, 16),
  );
  await ensureDirectory(folder);
  const waiting = await listDirectory(folder);
  const stop = new AbortController();
  let wake = Promise.withResolvers<void>();
  let count = 0;
  const deliverAll = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const [file] = waiting;
      if (file === undefined) {
        await wake.promise;
        wake = Promise.withResolvers<void>();
        continue;
      }
      try {
        await deliverFile(join(folder, file), endpoint, stop.signal, log);
        if (!stop.signal.aborted) waiting.shift();
      } catch (error) {
        log.error({ err: error }, 'notification queue cannot be read; trying again');
        await sleep(LONGEST_BACKOFF_MS, stop.signal);
      }
    }
  };
  const delivering = deliverAll();
  return {
    async add(event: RegistryEvent): Promise<void> {
      // Names sort by time, then by order within this process.
      const file = `${String(Date.now()).padStart(15, '0')}-${String(count++).padStart(9, '0')}-${event.id}.json`;
      await writeDurably(layout.temporary, join(folder, file), JSON.stringify(event));
      waiting.push(file);
      wake.resolve();
    },
    async close(): Promise<void> {
      stop.abort();
      wake.resolve();
      await delivering;
    },
  };
}

/** Sends one event until it is taken, is too old, or `signal` stops it; the file goes unless it was stopped. */
async function deliverFile(
  path: string,
  endpoint: NotificationEndpoint,
  signal: AbortSignal,
  log: RegistryLog,
): Promise<void> {
  const text = await ifPresent(readFile(path, 'utf8'));
  if (text === undefined || signal.aborted) return;
  // Written by `add` alone.
  const event = JSON.parse(text) as RegistryEvent;
  for (let backoff = FIRST_BACKOFF_MS; ; backoff = Math.min(backoff * 2, endpoint.maxBackoffMs ?? LONGEST_BACKOFF_MS)) {
    const failure = await send(event, endpoint, signal);
    if (failure === undefined) break;
    if (signal.aborted) return;
    const fields = { receiver: new URL(endpoint.url).origin, event: event.id, failure };
    if (Date.now() - Date.parse(event.timestamp) > MAX_AGE_MS) {
      log.error(fields, 'notification given up after a day');
      break;
    }
    log.warn({ ...fields, retryInMs: backoff }, 'notification not delivered');
    await sleep(backoff, signal);
    if (signal.aborted) return;
  }
  await removeDurably(path);
}

/** @returns why it was not delivered; 2xx and 3xx count as delivered, as in CNCF Distribution. */
async function send(
  event: RegistryEvent,
  endpoint: NotificationEndpoint,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const response = await fetch(endpoint.url, {
      method: 'POST',
      redirect: 'manual',
      headers: { ...endpoint.headers, 'Content-Type': EVENTS_TYPE },
      body: JSON.stringify({ events: [event] }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(endpoint.timeoutMs ?? 5000)]),
    });
    await response.body?.cancel();
    return response.status >= 200 && response.status < 400 ? undefined : `status ${response.status}`;
  } catch (error) {
    return describe(error);
  }
}

/** Only names and codes: messages of `fetch` can hold the URL, and URLs of receivers are secrets. */
function describe(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code;
  return cause instanceof Error ? cause.name : 'unknown error';
}

async function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  await delay(milliseconds, undefined, { signal }).catch(() => undefined);
}
