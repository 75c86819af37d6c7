import type { IncomingMessage, ServerResponse } from 'node:http';
import { createEvent, type EventTarget, type RegistryEvent } from './event.ts';
import { RegistryError } from './errors.ts';
import type { KeyedLock } from '#core/keyed-lock.ts';
import type { Layout } from './layout.ts';
import type { RegistryLog } from './log.ts';
import type { Notifier } from './notifier.ts';

const MAX_DISCARDED_BYTES = 64 * 1024 * 1024;

/** What every request of one registry shares. */
export interface RegistryContext {
  layout: Layout;
  lock: KeyedLock;
  notifier: Notifier;
  log: RegistryLog;
  /** Name of the authenticated user, when the registry asks for one. */
  actor: string | undefined;
  source: RegistryEvent['source'];
  /** Largest blob that is taken, in bytes. */
  maxBlobBytes: number;
}

/** One request and its answer. */
export interface Exchange {
  context: RegistryContext;
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
}

/** A single value of a request header. */
export function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The body as it comes. Whoever stops reading early leaves the connection usable: see `discardBody`. */
export function bodyOf(request: IncomingMessage): AsyncIterable<Buffer> {
  // Nobody sets an encoding on requests, so what comes are bytes.
  return request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
}

/** Reads on to the end of a body nobody wants, so that the client hears the answer; gives up on very long ones. */
export function discardBody(request: IncomingMessage): void {
  let left = MAX_DISCARDED_BYTES;
  request.on('data', (bytes: Buffer) => {
    left -= bytes.length;
    if (left < 0) request.destroy();
  });
}

/** Answers without a body. */
export function sendEmpty({ response }: Exchange, status: number, headers: Record<string, string | number> = {}): void {
  response.writeHead(status, { 'Content-Length': 0, ...headers }).end();
}

/** Answers with bytes; a HEAD request gets the headers alone. */
export function sendBytes(
  { request, response }: Exchange,
  bytes: Buffer,
  headers: Record<string, string | number>,
): void {
  response.writeHead(200, { 'Content-Length': bytes.length, ...headers });
  response.end(request.method === 'HEAD' ? undefined : bytes);
}

/** True, and answered with 304, when the client has this content already. */
export function sendNotModified(exchange: Exchange, etag: string): boolean {
  const known = headerOf(exchange.request, 'if-none-match')
    ?.split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''));
  if (!known?.includes(etag)) return false;
  exchange.response.writeHead(304, { ETag: etag }).end();
  return true;
}

/** @throws RegistryError UNSUPPORTED naming what the endpoint takes. */
export function refuseMethod(...allowed: string[]): never {
  throw new RegistryError('UNSUPPORTED', `this endpoint takes ${allowed.join(', ')}`, {
    headers: { Allow: allowed.join(', ') },
  });
}

/** Publishes what this request did. */
export async function publish(
  { context, request }: Exchange,
  action: RegistryEvent['action'],
  target: EventTarget,
): Promise<void> {
  const origin = {
    request: {
      addr: `${request.socket.remoteAddress ?? ''}:${request.socket.remotePort ?? ''}`,
      host: hostOf(request) ?? context.source.addr,
      method: request.method ?? '',
      useragent: (request.headers['user-agent'] ?? '').slice(0, 256),
    },
    actor: context.actor,
    source: context.source,
    now: new Date(),
  };
  const url =
    target.mediaType === undefined
      ? {}
      : { url: `http://${origin.request.host}/v2/${target.repository}/manifests/${target.digest}` };
  await context.notifier.publish(createEvent(action, { ...target, ...url }, origin));
}

function hostOf(request: IncomingMessage): string | undefined {
  const host = request.headers.host;
  return host !== undefined && /^[a-zA-Z0-9.:[\]-]{1,255}$/.test(host) ? host : undefined;
}
