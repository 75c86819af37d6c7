import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Type } from 'typebox';
import { afterEach, describe, expect, it } from 'vitest';
import { createClient } from './client.ts';

let server: Server | undefined;
afterEach(() => server?.closeAllConnections());
afterEach(() => new Promise((done) => (server === undefined ? done(undefined) : server.close(done))));

async function clientOf(answer: RequestListener) {
  server = createServer(answer);
  await new Promise<void>((done) => server?.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return createClient({ url, tenant: 'default', tenantChosen: false, token: () => Promise.resolve('plumb_x') });
}

const Item = Type.Object({ name: Type.String() });
const json =
  (status: number, body: unknown): RequestListener =>
  (_request, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
const problem = { type: 'urn:plumbline:problem:x', status: 409, instance: '1' };

describe('createClient', () => {
  it('sends the token as a bearer and gives back what fits the schema', async () => {
    const client = await clientOf((request, response) =>
      response.end(JSON.stringify({ name: request.headers.authorization })),
    );
    expect(await client.get('/v1/x', Item)).toEqual({ name: 'Bearer plumb_x' });
  });

  it('follows the pages of a list to its end', async () => {
    const client = await clientOf((request, response) => {
      const second = request.url?.includes('cursor=a%2Bb') === true;
      response.end(JSON.stringify({ items: [{ name: second ? 'two' : 'one' }], next: second ? null : 'a+b' }));
    });
    expect(await client.list('/v1/x?limit=1', Item)).toEqual([{ name: 'one' }, { name: 'two' }]);
  });

  it.each([
    [
      'title, detail and reason of a problem',
      { ...problem, title: 'No', detail: 'it waits', reason: 'PlanStale' },
      'No: it waits [PlanStale]',
      1,
    ],
    [
      'every field that is wrong',
      { ...problem, status: 422, title: 'No', detail: 'two', errors: [{ path: 'a', message: 'is b' }] },
      'No: two; a is b',
      2,
    ],
    ['words of a terminal spelled out', { ...problem, title: 'No', detail: '\u001b[2J' }, String.raw`No: \u{1b}[2J`, 1],
    ['that something else answers', { hello: 1 }, 'not as Plumbline does', 1],
  ])('reports %s', async (_what, body, message, exitCode) => {
    const client = await clientOf(json('status' in body ? body.status : 502, body));
    const refusal = client.get('/v1/x', Item);
    await expect(refusal).rejects.toThrow(message);
    await expect(refusal).rejects.toHaveProperty('exitCode', exitCode);
  });

  it('refuses an answer it does not know and names the field', async () => {
    const client = await clientOf(json(200, { name: 3 }));
    await expect(client.get('/v1/x', Item)).rejects.toThrow('/name must be string');
  });

  it('never takes the token to another address', async () => {
    const client = await clientOf((_request, response) =>
      response.writeHead(307, { location: 'http://127.0.0.1:1/' }).end(),
    );
    await expect(client.get('/v1/x', Item)).rejects.toThrow('cannot be reached');
  });

  it('says where it looked when nobody answers', async () => {
    const client = await clientOf(() => undefined);
    await new Promise((done) => server?.close(done));
    await expect(client.get('/', Item)).rejects.toThrow(/^the service at http:.* cannot be reached \(ECONNREFUSED\)/);
  });
});
