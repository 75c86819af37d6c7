import { createHash, timingSafeEqual } from 'node:crypto';

/** A hint that something was pushed. The worker asks the configured registry itself; nothing here is believed. */
export interface PushEvent {
  /** Repository as the registry names it, without host. */
  repository: string;
  tag: string | undefined;
  /** Id of the delivery, to drop repeats; undefined where the sender has none: such events are always looked at. */
  key: string | undefined;
}

/** What a receiver makes of a request. `forged` is decided before anything of the body is read. */
export type Delivery =
  | { kind: 'forged' }
  | { kind: 'unsupported'; detail: string }
  | { kind: 'malformed'; detail: string }
  | { kind: 'authentic'; events: PushEvent[]; ignored: number };

export interface HookRequest {
  /** The bytes as they came; signatures are over these. */
  raw: Buffer;
  headers: Record<string, string | string[] | undefined>;
}

/** One inbound format: pure, so that every decision can be tested without a server. */
export type Receiver = (request: HookRequest, secret: string) => Delivery;

/** Equality of two texts in time that depends on neither; an empty secret equals nothing. */
export function equalInConstantTime(given: string, secret: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(secret)) && secret !== '';
}

/** The one value of a header; undefined when it is absent or repeated. */
export function singleHeader(request: HookRequest, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : undefined;
}

/** The content type without parameters, in lower case. */
export function mediaType(request: HookRequest): string {
  return (singleHeader(request, 'content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** The parsed body, or undefined when it is not JSON in UTF-8. */
export function parseJson(raw: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
  } catch {
    return undefined;
  }
}
