import { Type, type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { pageOf, ProblemView } from '#core/domain/view.ts';
import { failure, usage, type CliError } from './error.ts';
import { printable } from './printable.ts';
import type { Settings } from './settings.ts';

/** The service's HTTP API. Every call has a time limit; every answer is checked against the schema it should have. */
export interface Client {
  get<S extends TSchema>(path: string, schema: S): Promise<Static<S>>;
  post<S extends TSchema>(path: string, body: unknown, schema: S): Promise<Static<S>>;
  /** All items of a list, its pages followed; at most 10,000. */
  list<S extends TSchema>(path: string, item: S): Promise<Static<S>[]>;
  text(path: string): Promise<string>;
  /** The body as it comes; ends with an error when nothing came for a minute. */
  stream(path: string, headers: Record<string, string>): AsyncIterable<Uint8Array>;
}

const LIMIT_MS = 30_000;
/** The service says at least every 15 s that it is there. */
const SILENCE_MS = 60_000;
const MAX_BYTES = 64 * 1024 * 1024;
const MAX_ITEMS = 10_000;

interface Call {
  method: 'GET' | 'POST';
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/** Makes the client of the service the settings name; nothing is sent before the first call. */
export function createClient(settings: Settings): Client {
  async function send(call: Call): Promise<string> {
    const token = await settings.token();
    const response = await fetchAnswer(settings.url, token, call);
    const text = await readBounded(response);
    if (!response.ok) throw problemOf(response.status, text, settings);
    return text;
  }

  async function json<S extends TSchema>(call: Call, schema: S): Promise<Static<S>> {
    return parseAnswer(await send(call), schema, call.path);
  }

  async function* stream(path: string, headers: Record<string, string>) {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const call: Call = { method: 'GET', path, headers };
      const response = await fetchAnswer(settings.url, await settings.token(), call, silence.signal);
      if (!response.ok) throw problemOf(response.status, await readBounded(response), settings);
      const body: AsyncIterable<Uint8Array> | null = response.body;
      for await (const chunk of body ?? []) {
        timer.refresh();
        yield chunk;
      }
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    stream,
    get: (path, schema) => json({ method: 'GET', path }, schema),
    post: (path, body, schema) => json({ method: 'POST', path, ...(body === undefined ? {} : { body }) }, schema),
    text: (path) => send({ method: 'GET', path }),
    list: (path, item) => listAll((at) => json({ method: 'GET', path: at }, Type.Partial(pageOf(item))), path),
  };
}

async function listAll<T>(
  page: (path: string) => Promise<{ items?: T[]; next?: string | null }>,
  path: string,
): Promise<T[]> {
  const items: T[] = [];
  for (let cursor: string | null | undefined; items.length < MAX_ITEMS;) {
    const query = cursor === undefined || cursor === null ? '' : `cursor=${encodeURIComponent(cursor)}`;
    const separator = path.includes('?') ? '&' : '?';
    const found = await page(query === '' ? path : `${path}${separator}${query}`);
    items.push(...(found.items ?? []));
    cursor = found.next;
    if (cursor === undefined || cursor === null) break;
  }
  return items;
}

async function fetchAnswer(
  url: string,
  token: string,
  call: Call,
  signal = AbortSignal.timeout(LIMIT_MS),
): Promise<Response> {
  try {
    return await fetch(`${url}${call.path}`, {
      method: call.method,
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'application/json, application/problem+json, text/plain, text/event-stream',
        ...call.headers,
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      // The token is for this address and no other.
      redirect: 'error',
      signal,
    });
  } catch (error) {
    throw unreachableService(url, error);
  }
}

function unreachableService(url: string, error: unknown): CliError {
  if (error instanceof Error && error.name === 'TimeoutError') {
    return failure(`the service at ${url} did not answer within ${LIMIT_MS / 1000} s; try again`, error);
  }
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code: unknown = cause instanceof Error ? (Reflect.get(cause, 'code') ?? cause.message) : cause;
  return failure(
    `the service at ${url} cannot be reached (${String(code)}): is it running, and is PLUMBLINE_URL right?`,
    error,
  );
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  const body: AsyncIterable<Uint8Array> | null = response.body;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) throw failure(`the answer is larger than ${MAX_BYTES / 1024 / 1024} MiB`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parseAnswer<S extends TSchema>(text: string, schema: S, path: string): Static<S> {
  const body = parseJson(text);
  if (Value.Check(schema, body)) return body;
  const [first] = Value.Errors(schema, body);
  const where = first === undefined ? '' : ` (${first.instancePath || '/'} ${first.message})`;
  throw failure(
    `the service answered ${path} with something this plumb does not know${where}: do their versions differ?`,
  );
}

/** One sentence from a problem document (RFC 9457), with what exactly is wrong where the service says so. */
function problemOf(status: number, text: string, settings: Settings): CliError {
  const body = parseJson(text);
  if (!Value.Check(ProblemView, body)) {
    return failure(
      `the service at ${settings.url} answered ${status}, and not as Plumbline does: is PLUMBLINE_URL right?`,
    );
  }
  // The detail tells the first of them in its own words.
  const more = (body.errors ?? []).filter((error) => !body.detail.includes(error.message));
  const details = more.map((error) => `${error.path} ${error.message}`);
  const reason = body.reason === undefined ? '' : ` [${body.reason}]`;
  const message = printable([`${body.title}: ${body.detail}${reason}`, ...details].join('; '));
  return status === 400 || status === 422 ? usage(message) : failure(message);
}
