import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Resolve } from './dial.ts';
import { openEgressProxy, PROXY_LIMITS } from './proxy.ts';
import { parseEgress } from './rules.ts';

const dir = mkdtempSync(join(tmpdir(), 'plumb-egress-'));
const address = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
const closing: (() => unknown)[] = [];
afterAll(async () => {
  for (const close of closing) await close();
  rmSync(dir, { recursive: true, force: true });
});

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  closing.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** What a name leads to is the resolver's word; this one changes it at every question. */
function lying(answers: string[]): Resolve {
  let asked = 0;
  return async () => [{ address: answers[Math.min(asked++, answers.length - 1)] ?? '', family: 4 }];
}

let opened = 0;

async function open(rules: string[], more: { limits?: Partial<typeof PROXY_LIMITS>; resolve?: Resolve } = {}) {
  const path = join(dir, `p${(opened += 1)}`);
  const said: string[] = [];
  const proxy = await openEgressProxy({
    path,
    policy: { rules: parseEgress(rules), metadata: false },
    onRefused: (message) => said.push(message),
    limits: { ...PROXY_LIMITS, ...more.limits },
    ...(more.resolve && { resolve: more.resolve }),
  });
  closing.push(() => proxy.close());
  return { path, said };
}

/** Writes, and gives all that is answered until the end, or until `until` is seen. */
function talk(path: string, says: string, until?: string): Promise<{ answer: string; socket: Socket }> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let answer = '';
    socket.on('data', (bytes: Buffer) => {
      answer += bytes.toString('latin1');
      if (until !== undefined && answer.includes(until)) resolve({ answer, socket });
    });
    socket.on('error', () => undefined).on('close', () => resolve({ answer, socket }));
    socket.write(says);
  });
}

const tunnel = (target: string, more = '') => `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n${more}`;

describe.skipIf(address === undefined)('the egress proxy', { timeout: 20_000 }, () => {
  let echo = 0;
  let web = 0;

  beforeAll(async () => {
    echo = await listening(createServer((socket) => socket.on('error', () => undefined).pipe(socket)));
    web = await listening(
      createHttpServer((request, response) => {
        response.setHeader('x-saw', JSON.stringify({ url: request.url, ...request.headers }));
        request.pipe(response);
      }),
    );
  });

  it('tunnels to a name that is allowed, with what was sent early', async () => {
    const { path, said } = await open([`a.example:${echo}`, `${address}:${echo}`], { resolve: lying([address ?? '']) });
    const { answer, socket } = await talk(path, tunnel(`a.example:${echo}`, 'early'), 'early');
    expect(answer).toBe('HTTP/1.1 200 Connection established\r\n\r\nearly');
    socket.destroy();
    expect(said).toEqual([]);
  });

  it('refuses a name that leads to the worker or to the metadata address, and says so once', async () => {
    for (const bad of ['127.0.0.1', '169.254.169.254', '10.0.0.1']) {
      const { path, said } = await open(['a.example:443'], { resolve: lying([bad]) });
      const first = await talk(path, tunnel('a.example:443'));
      await talk(path, tunnel('a.example:443'));
      expect(first.answer).toMatch(/^HTTP\/1\.1 403 a\.example:443 is refused/);
      expect(said).toEqual([expect.stringContaining(bad)]);
    }
  });

  it('dials what it checked, though the next answer of the DNS is another', async () => {
    const resolve = lying([address ?? '', '127.0.0.1']);
    const { path } = await open([`a.example:${echo}`, `${address}:${echo}`], { resolve });
    const { answer, socket } = await talk(path, tunnel(`a.example:${echo}`, 'hello'), 'hello');
    expect(answer).toContain('hello');
    socket.destroy();
    expect((await talk(path, tunnel(`a.example:${echo}`))).answer).toMatch(/^HTTP\/1\.1 403/);
  });

  it('refuses a name of which one address among others is not allowed', async () => {
    const { path } = await open(['a.example:443'], {
      resolve: async () => [
        { address: '93.184.216.34', family: 4 },
        { address: '127.0.0.1', family: 4 },
      ],
    });
    expect((await talk(path, tunnel('a.example:443'))).answer).toMatch(/^HTTP\/1\.1 403/);
  });

  it('passes plain requests on, without headers that are for the proxy', async () => {
    const { path } = await open([`${address}:${web}`]);
    const saw = await new Promise<{ saw: string; body: string }>((resolve, reject) => {
      const request = httpRequest({
        socketPath: path,
        method: 'POST',
        path: `http://${address}:${web}/a?b=c`,
        headers: { host: 'other', 'proxy-authorization': 'secret', 'x-own': 'kept' },
      });
      request.on('error', reject).on('response', (response) => {
        let body = '';
        response.on('data', (bytes) => (body += String(bytes)));
        response.on('end', () => resolve({ saw: String(response.headers['x-saw']), body }));
      });
      request.end('posted');
    });
    expect(JSON.parse(saw.saw)).toMatchObject({ url: '/a?b=c', host: `${address}:${web}`, 'x-own': 'kept' });
    expect(saw.saw).not.toContain('secret');
    expect(saw.body).toBe('posted');
  });

  it.each([
    ['a target without a port', tunnel('a.example'), /^HTTP\/1\.1 502 the proxy takes `host:port`/],
    ['a target that is none', tunnel('a b:443'), /^HTTP\/1\.1 [45]\d\d/],
    [
      'another scheme',
      'GET ftp://a.example/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
      /^HTTP\/1\.1 502 the proxy takes CONNECT/,
    ],
    ['no URL', 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n', /^HTTP\/1\.1 502 the proxy takes CONNECT/],
    ['no HTTP', 'SSH-2.0-hello\r\n\r\n', /^HTTP\/1\.1 400/],
    ['a port nobody listens on', tunnel(`${address}:1`), /^HTTP\/1\.1 502 .*ECONNREFUSED/],
  ])('answers %s with a reason', async (_, says, expected) => {
    const { path } = await open([`${address}:1`]);
    expect((await talk(path, says)).answer).toMatch(expected);
  });

  it('ends everything when a run has moved more than it may', async () => {
    const { path, said } = await open([`${address}:${echo}`], { limits: { bytes: 100_000 } });
    const { answer } = await talk(path, tunnel(`${address}:${echo}`, 'x'.repeat(200_000)));
    expect(answer.length).toBeLessThan(200_000);
    expect((await talk(path, tunnel(`${address}:${echo}`))).answer).toMatch(
      /^HTTP\/1\.1 403 everything is refused: the run has moved more than 100000 bytes/,
    );
    expect(said).toEqual([expect.stringContaining('moved more than')]);
  });

  it('closes a connection on which nothing moves', async () => {
    const { path } = await open([`${address}:${echo}`], { limits: { idleMs: 200 } });
    expect((await talk(path, tunnel(`${address}:${echo}`))).answer).toContain('200 Connection established');
  });

  it('takes no more connections than it may', async () => {
    const { path } = await open([`${address}:${echo}`], { limits: { connections: 1 } });
    const held = await talk(path, tunnel(`${address}:${echo}`), '200');
    expect((await talk(path, tunnel(`${address}:${echo}`))).answer).toBe('');
    held.socket.destroy();
  });
});
