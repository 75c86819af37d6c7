import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { digestOf, pushBlob, pushImage } from '../test/harness/raw-registry.ts';

const run = promisify(execFile);
const main = join(import.meta.dirname, 'main.ts');
let folder: string;
let child: ChildProcess | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'registry-process-'));
});
afterEach(async () => {
  await end('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

async function start(env: Record<string, string> = {}): Promise<string> {
  const portFile = join(folder, 'port');
  await rm(portFile, { force: true });
  child = spawn(process.execPath, [main, '--dir', join(folder, 'data'), '--port-file', portFile], {
    env,
    stdio: 'ignore',
  });
  await expect.poll(() => readFile(portFile, 'utf8').catch(() => ''), { timeout: 20_000 }).toMatch(/^\d+$/);
  return `http://127.0.0.1:${await readFile(portFile, 'utf8')}`;
}

async function end(signal: NodeJS.Signals): Promise<number | null> {
  const ending = child;
  child = undefined;
  if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return ending?.exitCode ?? null;
  return new Promise((resolve) => {
    ending.once('exit', resolve);
    ending.kill(signal);
  });
}

it('killed in the middle of a push, it shows no half of it, and the push can go on', { timeout: 60_000 }, async () => {
  const before = await start();
  const kept = await pushImage(`${before}/v2/shop`, 'prod', 'kept');
  const bytes = randomBytes(8 * 1024 * 1024);
  const digest = digestOf(bytes);
  const opened = await fetch(`${before}/v2/shop/blobs/uploads/`, { method: 'POST' });
  const path = opened.headers.get('location') ?? '';
  async function* firstHalf() {
    for (let at = 0; at < bytes.length / 2; at += 65_536) yield bytes.subarray(at, at + 65_536);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await end('SIGKILL');
    yield bytes.subarray(0, 1);
  }
  const cut = fetch(`${before}${path}?digest=${digest}`, { method: 'PUT', body: firstHalf(), duplex: 'half' });
  await expect(cut).rejects.toThrow('fetch failed');

  const after = await start();
  expect((await fetch(`${after}/v2/shop/blobs/${digest}`)).status).toBe(404);
  expect((await fetch(`${after}/v2/shop/manifests/prod`)).headers.get('docker-content-digest')).toBe(kept);
  const range = (await fetch(`${after}${path}`)).headers.get('range') ?? '';
  const size = Number(range.slice(2)) + 1;
  expect(size).toBeGreaterThan(65_536);
  expect(size).toBeLessThanOrEqual(bytes.length / 2);
  const rest = await fetch(`${after}${path}?digest=${digest}`, { method: 'PUT', body: bytes.subarray(size) });
  expect(rest.status).toBe(201);
  const pulled = Buffer.from(await (await fetch(`${after}/v2/shop/blobs/${digest}`)).arrayBuffer());
  expect(pulled.equals(bytes)).toBe(true);
});

it(
  'killed again and again while it is pushed to, it keeps every push it has confirmed',
  { timeout: 120_000 },
  async () => {
    const confirmed = new Map<string, string>();
    for (let round = 0; round < 4; round++) {
      const url = await start();
      const pushing = [0, 1, 2].map(async (writer) => {
        for (let n = 0; ; n++) {
          const tag = `w${writer}`;
          confirmed.set(
            `${tag}-${round}-${n}`,
            await pushImage(`${url}/v2/shop`, `${tag}-${round}-${n}`, `${tag} ${round} ${n}`),
          );
        }
      });
      setTimeout(() => void end('SIGKILL'), 150 + round * 77);
      await Promise.allSettled(pushing);
    }
    expect(confirmed.size).toBeGreaterThan(3);
    const url = await start();
    for (const [tag, digest] of confirmed) {
      const answer = await fetch(`${url}/v2/shop/manifests/${tag}`);
      expect([tag, answer.headers.get('docker-content-digest')]).toEqual([tag, digest]);
      const { layers } = (await answer.json()) as { layers: { digest: string }[] };
      const layer = await fetch(`${url}/v2/shop/blobs/${layers[0]?.digest}`);
      expect(digestOf(Buffer.from(await layer.arrayBuffer()))).toBe(layers[0]?.digest);
    }
  },
);

it('killed with a notification undelivered, it delivers it after the restart', { timeout: 60_000 }, async () => {
  const received: { authorization: string | undefined; body: string }[] = [];
  let answer = 503;
  const hook = createServer((request, response) => {
    let body = '';
    request.on('data', (bytes: Buffer) => (body += bytes.toString()));
    request.on('end', () => {
      received.push({ authorization: request.headers.authorization, body });
      response.writeHead(answer).end();
    });
  });
  await new Promise<void>((resolve) => void hook.listen(0, '127.0.0.1', resolve));
  const address = hook.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const env = { REGISTRY_NOTIFY_URL: `http://127.0.0.1:${port}/hook`, REGISTRY_NOTIFY_AUTHORIZATION: 'Bearer token' };
  try {
    const digest = await pushImage(`${await start(env)}/v2/shop`, 'prod', 'one');
    await expect.poll(() => received.length, { timeout: 5000 }).toBeGreaterThan(0);
    await end('SIGKILL');
    received.length = 0;
    answer = 202;
    await start(env);
    await expect.poll(() => received.length, { timeout: 5000 }).toBe(1);
    expect(received[0]?.authorization).toBe('Bearer token');
    expect(received[0]?.body).toContain(digest);
  } finally {
    hook.closeAllConnections();
    hook.close();
  }
});

it('a blob of 300 MiB passes through without being held in memory', { timeout: 120_000 }, async () => {
  const url = await start();
  await pushBlob(`${url}/v2/big`, 'warm up');
  const rss = async () => Number((await run('ps', ['-o', 'rss=', '-p', String(child?.pid)])).stdout) * 1024;
  const before = await rss();
  let highest = 0;
  const block = randomBytes(1024 * 1024);
  async function* blocks() {
    for (let count = 0; count < 300; count++) {
      if (count % 50 === 49) highest = Math.max(highest, await rss());
      yield block;
    }
  }
  const opened = await fetch(`${url}/v2/big/blobs/uploads/`, { method: 'POST' });
  const upload = `${url}${opened.headers.get('location')}`;
  expect((await fetch(upload, { method: 'PATCH', body: blocks(), duplex: 'half' })).status).toBe(202);
  expect((await fetch(upload)).headers.get('range')).toBe(`0-${300 * 1024 * 1024 - 1}`);
  expect(highest - before).toBeLessThan(128 * 1024 * 1024);
});

it('asks for the user its environment names and stops politely', { timeout: 30_000 }, async () => {
  const url = await start({ REGISTRY_USERNAME: 'plumb', REGISTRY_PASSWORD: 'secret' });
  expect((await fetch(`${url}/v2/`)).status).toBe(401);
  const headers = { Authorization: `Basic ${Buffer.from('plumb:secret').toString('base64')}` };
  expect((await fetch(`${url}/v2/`, { headers })).status).toBe(200);
  expect(await end('SIGTERM')).toBe(0);
});

it.each([
  [[], {}, '--dir is missing'],
  [['--dir', 'x', '--port', 'http'], {}, '--port must be a number'],
  [['--dir', 'x'], { REGISTRY_USERNAME: 'plumb' }, 'REGISTRY_USERNAME and REGISTRY_PASSWORD together'],
  [['--dir', '/dev/null/x'], {}, 'ENOTDIR'],
])('started with %j and %j it says "%s"', { timeout: 30_000 }, async (args, env, message) => {
  const started = run(process.execPath, [main, ...args], { env, cwd: folder, timeout: 10_000 });
  await expect(started).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(message) as string });
});
