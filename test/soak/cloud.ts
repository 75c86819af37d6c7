import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface CloudObject {
  name: string;
  size: number;
}

/** A cloud that survives every kill: it holds objects by id and remembers everything that was done to it. */
export interface Cloud {
  url: string;
  objects: Map<string, CloudObject>;
  /** Every write, in order: the provider's log. */
  log: { op: 'create' | 'update' | 'delete'; id: string; name: string }[];
  close(): Promise<void>;
}

const MAX_BODY = 4096;

/** Starts one on loopback. Every write takes effect in the middle of `slowMs`, so that a kill can come before and after it. */
export async function startCloud(slowMs: number): Promise<Cloud> {
  const objects = new Map<string, CloudObject>();
  const log: Cloud['log'] = [];
  let next = 1;
  function write(method: string, id: string, body: CloudObject | undefined): { status: number; answer: object } {
    const known = objects.get(id);
    if (method === 'POST' && body !== undefined) {
      const made = `id-${next++}`;
      objects.set(made, body);
      log.push({ op: 'create', id: made, name: body.name });
      return { status: 201, answer: { id: made, ...body } };
    }
    if (known === undefined) return { status: 404, answer: {} };
    if (method === 'PUT' && body !== undefined) {
      objects.set(id, body);
      log.push({ op: 'update', id, name: body.name });
      return { status: 200, answer: body };
    }
    if (method === 'DELETE') {
      objects.delete(id);
      log.push({ op: 'delete', id, name: known.name });
      return { status: 200, answer: {} };
    }
    return { status: 200, answer: known };
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (Buffer.concat(chunks).length > MAX_BODY) request.destroy();
    });
    request.on('end', () => void answer(Buffer.concat(chunks).toString()));
    const answer = async (text: string) => {
      const method = request.method ?? 'GET';
      const id = request.url?.split('/')[2] ?? '';
      if (method !== 'GET') await delay(slowMs / 2);
      const done = write(method, id, text === '' ? undefined : (JSON.parse(text) as CloudObject));
      if (method !== 'GET') await delay(slowMs / 2);
      response.writeHead(done.status, { 'content-type': 'application/json' }).end(JSON.stringify(done.answer));
    };
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    objects,
    log,
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
