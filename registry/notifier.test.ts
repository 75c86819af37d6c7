import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { pushImage } from '../test/harness/raw-registry.ts';
import type { RegistryEvent } from './event.ts';
import type { RegistryLog } from './log.ts';
import { startRegistry, type RegistryOptions, type RunningRegistry } from './server.ts';

/** A receiver that keeps what it is sent and answers what a test says. */
interface Receiver {
  url: string;
  events: RegistryEvent[];
  headers: IncomingHttpHeaders[];
  answers: (number | 'hang')[];
}

let dir: string;
let receiver: Receiver;
let server: Server;
/** Long enough for a machine that is busy with other tests. */
const SOON = { timeout: 10_000 };
vi.setConfig({ testTimeout: 30_000 });
const running = new Set<RunningRegistry>();

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'notifier-'));
  receiver = { url: '', events: [], headers: [], answers: [] };
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (bytes: Buffer) => (body += bytes.toString()));
    request.on('end', () => {
      const answer = receiver.answers.shift() ?? 200;
      receiver.headers.push(request.headers);
      const envelope = JSON.parse(body) as { events: RegistryEvent[] };
      receiver.events.push(...envelope.events);
      if (answer !== 'hang') response.writeHead(answer).end();
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  receiver.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/hook/secret-path`;
});

afterEach(async () => {
  for (const registry of running) await registry.close();
  running.clear();
  server.closeAllConnections();
  await new Promise((resolve) => void server.close(resolve));
  await rm(dir, { recursive: true, force: true });
});

async function start(options: Partial<RegistryOptions> = {}): Promise<RunningRegistry> {
  const notifications = [
    { url: receiver.url, name: 'hook', headers: { Authorization: 'Bearer token' }, timeoutMs: 300 },
  ];
  const registry = await startRegistry({ dir, notifications, ...options });
  running.add(registry);
  return registry;
}

async function queued(): Promise<number> {
  const [queue = ''] = await readdir(join(dir, 'events'));
  return (await readdir(join(dir, 'events', queue))).length;
}

it('a push is told in the distribution format, with the credentials', async () => {
  const registry = await start();
  const digest = await pushImage(`${registry.url}/v2/infra/shop`, 'prod', 'one');
  await expect.poll(() => receiver.events.length, SOON).toBe(1);
  const [event] = receiver.events;
  const host = `127.0.0.1:${registry.port}`;
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  expect(event).toMatchObject({
    action: 'push',
    target: { mediaType, digest, repository: 'infra/shop', tag: 'prod' },
    request: { host, method: 'PUT' },
    source: { instanceID: expect.any(String) as string },
  });
  expect(event?.target.url).toBe(`http://${host}/v2/infra/shop/manifests/${digest}`);
  expect(event?.target.size).toBe(event?.target.length);
  expect(receiver.headers[0]).toMatchObject({
    authorization: 'Bearer token',
    'content-type': 'application/vnd.docker.distribution.events.v2+json',
  });
});

it('pushes without a tag, repeated pushes, and deletes of tags and manifests are told too', async () => {
  const registry = await start();
  const base = `${registry.url}/v2/infra/shop`;
  const digest = await pushImage(base, 'prod', 'one');
  await pushImage(base, 'prod', 'one');
  const bytes = await (await fetch(`${base}/manifests/prod`)).text();
  const type = 'application/vnd.oci.image.manifest.v1+json';
  await fetch(`${base}/manifests/${digest}`, { method: 'PUT', body: bytes, headers: { 'Content-Type': type } });
  await fetch(`${base}/manifests/prod`, { method: 'DELETE' });
  await fetch(`${base}/manifests/${digest}`, { method: 'DELETE' });
  await expect.poll(() => receiver.events.length, SOON).toBe(5);
  expect(receiver.events.map(({ action, target }) => [action, target.tag, target.digest])).toEqual([
    ['push', 'prod', digest],
    ['push', 'prod', digest],
    ['push', undefined, digest],
    ['delete', 'prod', undefined],
    ['delete', undefined, digest],
  ]);
});

it.each([[[500, 503, 'hang', 200]], [[404, 401, 302]]] as (number | 'hang')[][][])(
  'an event is sent again, the same one, until it is taken: %j',
  async (answers) => {
    receiver.answers = [...answers];
    const registry = await start();
    await pushImage(`${registry.url}/v2/infra/shop`, 'prod', 'one');
    await expect.poll(() => receiver.events.length, SOON).toBe(answers.length);
    expect(new Set(receiver.events.map((event) => event.id)).size).toBe(1);
    await expect.poll(queued, SOON).toBe(0);
    await pushImage(`${registry.url}/v2/infra/shop`, 'prod', 'two');
    await expect.poll(() => receiver.events.length, SOON).toBe(answers.length + 1);
  },
);

it('a receiver that hangs does not hold up pushes', async () => {
  receiver.answers = Array.from({ length: 50 }, () => 'hang');
  const registry = await start();
  const begin = performance.now();
  for (const layer of ['1', '2', '3', '4', '5']) await pushImage(`${registry.url}/v2/infra/shop`, 'prod', layer);
  expect(performance.now() - begin).toBeLessThan(5000);
  expect(await queued()).toBe(5);
});

it('what could not be delivered is delivered by the next process, in order, even at another address', async () => {
  const away = await start({ notifications: [{ url: 'http://127.0.0.1:1/', name: 'hook', maxBackoffMs: 100 }] });
  const digests: string[] = [];
  for (const layer of ['1', '2', '3']) digests.push(await pushImage(`${away.url}/v2/infra/shop`, 'prod', layer));
  await away.close();
  expect(await queued()).toBe(3);
  await start();
  await expect.poll(() => receiver.events.map((event) => event.target.digest), SOON).toEqual(digests);
  await expect.poll(queued, SOON).toBe(0);
});

it('the log of a failed delivery holds neither credentials nor the path of the hook', async () => {
  receiver.answers = [500];
  const lines: string[] = [];
  const write = (fields: Record<string, unknown>, message: string) =>
    void lines.push(JSON.stringify({ ...fields, message }));
  const logger: RegistryLog = { info: write, warn: write, error: write };
  const registry = await start({ logger });
  await pushImage(`${registry.url}/v2/infra/shop`, 'prod', 'one');
  await expect.poll(() => receiver.events.length, SOON).toBe(2);
  const text = lines.join('\n');
  expect(text).toContain('"failure":"status 500"');
  expect(text).not.toContain('token');
  expect(text).not.toContain('secret-path');
});
