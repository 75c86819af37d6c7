import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import { connect } from 'node:net';
import { onTestFinished } from 'vitest';

/** What a test's server was asked. */
export interface Seen {
  method: string;
  /** Path and query. */
  url: string;
  authorization: string | undefined;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/**
 * What it answers; `cutAfter` ends the connection after so many bytes of the body, `stallAfter` sends no more after them,
 * `chunked` sends no Content-Length.
 */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
  chunked?: boolean;
  cutAfter?: number;
  stallAfter?: number;
}

export interface TestServer {
  /** `127.0.0.1:port` */
  host: string;
  origin: string;
  seen: Seen[];
}

/** A whole body. */
export async function readAll(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function write(response: ServerResponse, reply: Reply): void {
  const body = Buffer.from(reply.body ?? '');
  const length = reply.chunked === true ? {} : { 'content-length': String(body.byteLength) };
  response.writeHead(reply.status ?? 200, { ...length, ...reply.headers });
  const sent = reply.cutAfter ?? reply.stallAfter;
  if (sent === undefined) {
    response.end(body);
    return;
  }
  if (reply.stallAfter !== undefined) response.flushHeaders();
  response.write(body.subarray(0, sent), () => {
    if (reply.cutAfter !== undefined) response.destroy();
  });
}

type Answer = (seen: Seen) => Reply | Promise<Reply>;

function listener(answer: Answer, seen: Seen[]) {
  return (request: IncomingMessage, response: ServerResponse) => {
    void (async () => {
      const { method = '', url = '', headers } = request;
      const asked = { method, url, headers, authorization: headers.authorization, body: await readAll(request) };
      seen.push(asked);
      write(response, await answer(asked));
    })();
  };
}

async function listen(server: ReturnType<typeof createHttpServer>): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the test server has no port');
  return `127.0.0.1:${address.port}`;
}

/** A server on a free port that answers what the test says, by HTTPS with `tls`; closed when the test ends. */
export async function startTestServer(answer: Answer, tls?: ServerOptions): Promise<TestServer> {
  const seen: Seen[] = [];
  const server =
    tls === undefined ? createHttpServer(listener(answer, seen)) : createHttpsServer(tls, listener(answer, seen));
  const host = await listen(server);
  return { host, origin: `${tls === undefined ? 'http' : 'https'}://${host}`, seen };
}

/** A proxy that tunnels by CONNECT and forwards plain HTTP to nowhere; `asked` holds what it was asked for. */
export async function startTestProxy(): Promise<{
  host: string;
  asked: string[];
  authorization: Array<string | undefined>;
}> {
  const asked: string[] = [];
  const authorization: Array<string | undefined> = [];
  const server = createHttpServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(200, { 'content-length': '0' }).end();
  });
  server.on('connect', (request, socket) => {
    asked.push(`CONNECT ${request.url}`);
    authorization.push(request.headers['proxy-authorization']);
    const [hostname = '', port] = (request.url ?? '').split(':');
    const target = connect(Number(port), hostname, () => socket.write('HTTP/1.1 200 Connection established\r\n\r\n'));
    target.pipe(socket).pipe(target);
    for (const end of [target, socket]) end.on('error', () => target.destroy());
  });
  return { host: await listen(server), asked, authorization };
}
