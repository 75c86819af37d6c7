import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { onTestFinished } from 'vitest';

/** What a test's server was asked. */
export interface Seen {
  method: string;
  /** Path and query. */
  url: string;
  authorization: string | undefined;
  body: Buffer;
}

/** What it answers; `cutAfter` ends the connection after so many bytes of the body, `chunked` sends no Content-Length. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
  chunked?: boolean;
  cutAfter?: number;
}

export interface TestServer {
  /** `127.0.0.1:port` */
  host: string;
  origin: string;
  seen: Seen[];
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) if (chunk instanceof Buffer) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function write(response: ServerResponse, reply: Reply): void {
  const body = Buffer.from(reply.body ?? '');
  const length = reply.chunked === true ? {} : { 'content-length': String(body.byteLength) };
  response.writeHead(reply.status ?? 200, { ...length, ...reply.headers });
  if (reply.cutAfter === undefined) {
    response.end(body);
    return;
  }
  response.write(body.subarray(0, reply.cutAfter), () => response.destroy());
}

/** A server on a free port that answers what the test says; closed when the test ends. */
export async function startTestServer(answer: (seen: Seen) => Reply | Promise<Reply>): Promise<TestServer> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      const { method = '', url = '', headers } = request;
      const asked = { method, url, authorization: headers.authorization, body: await readBody(request) };
      seen.push(asked);
      write(response, await answer(asked));
    })();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the test server has no port');
  const host = `127.0.0.1:${address.port}`;
  return { host, origin: `http://${host}`, seen };
}
