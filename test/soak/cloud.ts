import { createServer, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

export interface CloudObject {
  name: string;
  size: number;
  /** Another zone replaces an object. */
  zone: number;
}

/** What a request does to the cloud, seen from the stack: a create where the name exists already is a replacement's. */
export const CLOUD_STEPS = ['create', 'replace', 'update', 'delete', 'read'] as const;
export type CloudStep = (typeof CLOUD_STEPS)[number];

/** A request in the middle: `before` its effect or `after` it, and in both cases before its answer. */
export interface CloudMoment {
  stack: string;
  step: CloudStep;
  phase: 'before' | 'after';
}

/** A cloud that survives every kill: it holds the objects of each stack by id and remembers everything that was done to it. */
export interface Cloud {
  url: string;
  objects(stack: string): Map<string, CloudObject>;
  /** Every write, in order. */
  log: { stack: string; step: CloudStep; id: string; name: string; run: string }[];
  /** What must never be: an object made twice, or a run that writes after a later one of its stack. */
  violations: string[];
  /** Holds every request until it is done: the moment to kill in. True: the request is forgotten, as if it had never come. */
  onMoment(listener: (moment: CloudMoment) => Promise<boolean>): void;
  close(): Promise<void>;
}

const MAX_BODY = 4096;

async function bodyOf(request: IncomingMessage): Promise<CloudObject | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    // Without an encoding a request gives buffers.
    if (!Buffer.isBuffer(chunk) || (size += chunk.length) > MAX_BODY) throw new Error('too large');
    chunks.push(chunk);
  }
  // The soak's own program sends it.
  return chunks.length === 0 ? undefined : (JSON.parse(Buffer.concat(chunks).toString()) as CloudObject);
}

interface Asked {
  method: string;
  stack: string;
  id: string;
  run: string;
  body: CloudObject | undefined;
}

function stepOf({ method, body }: Asked, objects: Map<string, CloudObject>): CloudStep {
  if (method === 'PUT') return 'update';
  if (method === 'DELETE') return 'delete';
  if (method === 'GET' || body === undefined) return 'read';
  return [...objects.values()].some((object) => object.name === body.name) ? 'replace' : 'create';
}

/** Remembers which run of a stack wrote last, and that an earlier one must not write again. */
function newFence(): (stack: string, run: string) => boolean {
  const order = new Map<string, string[]>();
  return (stack, run) => {
    const seen = order.get(stack) ?? [];
    order.set(stack, seen);
    if (seen.at(-1) === run) return true;
    if (seen.includes(run)) return false;
    seen.push(run);
    return true;
  };
}

/** Starts one on loopback. Every write takes `slowMs`, half of it before its effect. */
export async function startCloud(slowMs: number): Promise<Cloud> {
  const stacks = new Map<string, Map<string, CloudObject>>();
  const log: Cloud['log'] = [];
  const violations: string[] = [];
  const mayWrite = newFence();
  let listener: (moment: CloudMoment) => Promise<boolean> = async () => false;
  let next = 1;
  const objectsOf = (stack: string) => {
    const known = stacks.get(stack) ?? new Map<string, CloudObject>();
    stacks.set(stack, known);
    return known;
  };

  function write(asked: Asked, step: CloudStep): { status: number; answer: object } {
    const { stack, run, body } = asked;
    const objects = objectsOf(stack);
    const known = objects.get(asked.id);
    if (step === 'read') return known === undefined ? { status: 404, answer: {} } : { status: 200, answer: known };
    const name = body?.name ?? known?.name ?? '';
    if (!mayWrite(stack, run)) violations.push(`${run} writes ${name} of ${stack} after a later run did`);
    if (step === 'create' || step === 'replace') {
      const twin = [...objects].find(([, object]) => object.name === name && object.zone === body?.zone);
      if (twin !== undefined) violations.push(`${name} of ${stack} is made twice: ${twin[0]} exists`);
      const made = `id-${next++}`;
      if (body !== undefined) objects.set(made, body);
      log.push({ stack, step, id: made, name, run });
      return { status: 201, answer: { id: made, ...body } };
    }
    if (known === undefined) return { status: 404, answer: {} };
    if (step === 'delete') objects.delete(asked.id);
    else if (body !== undefined) objects.set(asked.id, body);
    log.push({ stack, step, id: asked.id, name, run });
    return { status: 200, answer: {} };
  }

  async function answer(asked: Asked): Promise<{ status: number; answer: object }> {
    const step = stepOf(asked, objectsOf(asked.stack));
    const wait = step === 'read' ? 0 : slowMs / 2;
    await delay(wait);
    if (await listener({ stack: asked.stack, step, phase: 'before' })) return { status: 503, answer: {} };
    const done = write(asked, step);
    await listener({ stack: asked.stack, step, phase: 'after' });
    await delay(wait);
    return done;
  }

  const server = createServer((request, response) => {
    const [, stack = '', , id = ''] = (request.url ?? '').split('/');
    const run = String(request.headers['x-run'] ?? '');
    void bodyOf(request)
      .then((body) => answer({ method: request.method ?? 'GET', stack, id, run, body }))
      .then((done) => {
        response.writeHead(done.status, { 'content-type': 'application/json' }).end(JSON.stringify(done.answer));
      })
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    objects: objectsOf,
    log,
    violations,
    onMoment: (wanted) => void (listener = wanted),
    close: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
