import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { dial, type Resolve } from './dial.ts';
import { joinStreams } from './join-streams.ts';
import { EgressRefused, type EgressPolicy } from './policy.ts';
import { listenUnix } from '../unix-socket.ts';

/** What one run may do through its proxy. */
export interface ProxyLimits {
  connections: number;
  /** Both ways, of all connections together. */
  bytes: number;
  /** A connection on which nothing moves is closed after this. */
  idleMs: number;
}

export const PROXY_LIMITS: ProxyLimits = { connections: 256, bytes: 16 * 1024 ** 3, idleMs: 30 * 60_000 };

export interface EgressProxyOptions {
  /** Path of its Unix socket. */
  path: string;
  policy: EgressPolicy;
  limits?: ProxyLimits;
  /** Called once for each host that is refused, with what to do about it; at most 100 times. */
  onRefused(message: string): void;
  resolve?: Resolve;
}

const MAX_REFUSALS = 100;

/** Headers between two hops only (RFC 9110, 7.6.1). */
const HOP_HEADERS: ReadonlySet<string> = new Set([
  'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer',
  'transfer-encoding', 'upgrade',
]); // prettier-ignore

/** One proxy at work. */
interface Proxy {
  policy: EgressPolicy;
  limits: ProxyLimits;
  resolve: Resolve | undefined;
  sockets: Set<Duplex>;
  /** Moved so far. */
  bytes: number;
  /** Tells of an error that is a refusal. */
  refused(error: unknown): void;
}

function refusals(onRefused: (message: string) => void): (error: unknown) => void {
  const seen = new Set<string>();
  return (error) => {
    if (!(error instanceof EgressRefused) || seen.has(error.target) || seen.size >= MAX_REFUSALS) return;
    seen.add(error.target);
    onRefused(error.message);
  };
}

function parseAuthority(authority: string): { host: string; port: number } | undefined {
  const found = /^(\[[0-9a-f:.]+\]|[^:[\]]+):(\d{1,5})$/i.exec(authority);
  const port = Number(found?.[2]);
  return found?.[1] === undefined || port < 1 || port > 65_535 ? undefined : { host: found[1], port };
}

/** One line: it stands where clients show the reason of a refusal. */
function reasonOf(error: unknown): { status: number; reason: string } {
  const message = error instanceof Error ? error.message : String(error);
  const reason = message.replaceAll(/[^\x20-\x7e]/g, ' ').slice(0, 300);
  return { status: error instanceof EgressRefused ? 403 : 502, reason };
}

function count(proxy: Proxy, sockets: Duplex[]): void {
  for (const socket of sockets) {
    socket.on('data', (chunk: Buffer) => {
      proxy.bytes += chunk.length;
      if (proxy.bytes > proxy.limits.bytes) for (const open of proxy.sockets) open.destroy();
    });
  }
}

function keep(proxy: Proxy, socket: Duplex): void {
  proxy.sockets.add(socket);
  socket.on('error', () => undefined).once('close', () => proxy.sockets.delete(socket));
}

async function reach(proxy: Proxy, target: { host: string; port: number } | undefined): Promise<Socket> {
  const { policy, limits } = proxy;
  if (target === undefined) throw new Error('the proxy takes `host:port`');
  try {
    if (proxy.bytes > limits.bytes)
      throw new EgressRefused('everything', `the run has moved more than ${limits.bytes} bytes`);
    const upstream = await dial(policy, target, proxy.resolve);
    keep(proxy, upstream);
    upstream.setTimeout(limits.idleMs, () => upstream.destroy());
    return upstream;
  } catch (error) {
    proxy.refused(error);
    throw error;
  }
}

async function tunnel(proxy: Proxy, request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  try {
    const upstream = await reach(proxy, parseAuthority(request.url ?? ''));
    if (client.destroyed) return void upstream.destroy();
    client.write('HTTP/1.1 200 Connection established\r\n\r\n');
    client.unshift(head);
    count(proxy, [client, upstream]);
    joinStreams(client, upstream);
  } catch (error) {
    const { status, reason } = reasonOf(error);
    client.end(`HTTP/1.1 ${status} ${reason}\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n${reason}\n`);
  }
}

async function forward(proxy: Proxy, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    const url = URL.parse(request.url ?? '');
    if (url?.protocol !== 'http:') throw new Error('the proxy takes CONNECT, and http:// URLs');
    const upstream = await reach(proxy, { host: url.hostname, port: Number(url.port || 80) });
    count(proxy, [upstream]);
    await passOn(request, response, { url, upstream });
  } catch (error) {
    if (response.headersSent) return void response.destroy();
    const { status, reason } = reasonOf(error);
    response.writeHead(status, reason, { 'content-type': 'text/plain', connection: 'close' }).end(`${reason}\n`);
  }
}

/**
 * An HTTP proxy on a Unix socket, the only way out of a run's network namespace: CONNECT for everything with TLS or of another
 * protocol, and plain HTTP by requests in absolute form.
 * @throws ReconcileError stalled when the path is too long for a socket.
 */
export async function openEgressProxy(options: EgressProxyOptions): Promise<{ close(): Promise<void> }> {
  const { policy, limits = PROXY_LIMITS, resolve } = options;
  const proxy: Proxy = { policy, limits, resolve, sockets: new Set(), bytes: 0, refused: refusals(options.onRefused) };
  const server = createServer({ requestTimeout: 0 }, (request, response) => void forward(proxy, request, response));
  server.maxConnections = limits.connections;
  server.on('connection', (socket) => keep(proxy, socket));
  server.on('connect', (request, client, head) => void tunnel(proxy, request, client, head));
  await listenUnix(server, options.path);
  return {
    close: () =>
      new Promise((done) => {
        for (const socket of proxy.sockets) socket.destroy();
        server.close(() => done());
      }),
  };
}

function endToEnd(headers: IncomingMessage['headers']): IncomingMessage['headers'] {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_HEADERS.has(name)));
}

function passOn(request: IncomingMessage, response: ServerResponse, to: { url: URL; upstream: Socket }): Promise<void> {
  const { url, upstream } = to;
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      {
        createConnection: () => upstream,
        method: request.method,
        path: `${url.pathname}${url.search}`,
        headers: { ...endToEnd(request.headers), host: url.host, connection: 'close' },
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.statusMessage, endToEnd(answer.headers));
        answer.on('error', reject).pipe(response).on('close', resolve);
      },
    );
    outgoing.on('error', reject);
    response.on('close', () => upstream.destroy());
    request.pipe(outgoing);
  });
}
