import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from './digest.ts';
import type { Http, HttpRequest, HttpResponse } from './http.ts';
import { OCI_MANIFEST } from './media-types.ts';
import { createRegistryClient } from './registry-client.ts';
import { retryAfterMs } from './retry.ts';
import { createSession } from './session.ts';
import { startTestServer, type Reply } from './test-server.ts';
import { getFrom, startTestSession } from './test-session.ts';

const FOUND: Reply = { headers: { 'content-type': OCI_MANIFEST, 'docker-content-digest': digestOf(Buffer.from('')) } };

async function resolveFrom(replies: Reply[], signal = AbortSignal.timeout(20_000), attempts = 4) {
  const server = await startTestServer(() => replies.shift() ?? FOUND);
  const retry = { attempts, baseMs: 1, maxMs: 5, maxSleepMs: 1_500 };
  const client = createRegistryClient({ plainHttpHosts: [server.host], retry });
  onTestFinished(() => client.close());
  const resolved = client.resolve({ host: server.host, name: 'a' }, 'b', signal);
  return { server, resolved };
}

describe('retries', () => {
  it.each<[string, Reply]>([
    ['429', { status: 429 }],
    ['429 with a short Retry-After', { status: 429, headers: { 'retry-after': '0' } }],
    ['408', { status: 408 }],
    ['503', { status: 503 }],
    ['a cut connection', { body: 'x'.repeat(100), cutAfter: 0 }],
  ])('go on after %s', async (_, reply) => {
    const { server, resolved } = await resolveFrom([reply]);
    expect((await resolved).mediaType).toBe(OCI_MANIFEST);
    expect(server.seen.length).toBeGreaterThanOrEqual(2);
  });

  it('hand a long Retry-After to the stack instead of sleeping', async () => {
    const { server, resolved } = await resolveFrom([{ status: 429, headers: { 'retry-after': '120' } }]);
    await expect(resolved).rejects.toMatchObject({
      kind: 'waiting',
      reason: 'SourceUnreachable',
      retryAfterMs: 120_000,
    });
    expect(server.seen).toHaveLength(1);
  });

  it('end', async () => {
    const { server, resolved } = await resolveFrom(Array.from({ length: 9 }, () => ({ status: 500 })));
    await expect(resolved).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    expect(server.seen).toHaveLength(4);
  });

  it('end when the caller gives up, with what the caller said', async () => {
    const controller = new AbortController();
    const stop = new Error('lease lost');
    const { resolved } = await resolveFrom([{ status: 429, headers: { 'retry-after': '1' } }], controller.signal);
    setTimeout(() => controller.abort(stop), 100);
    await expect(resolved).rejects.toBe(stop);
  });
});

describe('retryAfterMs', () => {
  const now = new Date('2026-11-24T00:00:00Z');
  it.each<[string | undefined, number | undefined]>([
    [undefined, undefined],
    ['5', 5_000],
    ['Tue, 24 Nov 2026 00:01:00 GMT', 60_000],
    ['Mon, 23 Nov 2026 00:00:00 GMT', 0],
    ['999999', 3_600_000],
    ['soon', undefined],
  ])('of %s is %s', (header, expected) => {
    expect(retryAfterMs(header, now)).toBe(expected);
  });
});

describe('redirects of https', () => {
  function answering(replies: Array<{ status: number; location?: string }>) {
    const sent: HttpRequest[] = [];
    const http: Http = {
      async send(request): Promise<HttpResponse> {
        sent.push(request);
        const { status, location } = replies.shift() ?? { status: 200 };
        const header = (name: string) => (name === 'location' ? location : undefined);
        return { url: request.url, status, header, body: (async function* () {})(), discard: async () => undefined };
      },
      close: async () => undefined,
    };
    const authenticator = { remembered: () => 'Bearer secret', answer: async () => 'Bearer secret' };
    const retry = { attempts: 1, baseMs: 1, maxMs: 1, maxSleepMs: 1 };
    const session = createSession({
      http,
      authenticator,
      retry,
      plainHttpHosts: ['plain.example.com'],
      credentials: () => undefined,
    });
    const repository = { host: 'docker.io', name: 'a/b' };
    const signal = AbortSignal.timeout(1_000);
    const send = () =>
      session.send({ repository, method: 'GET', target: '/v2/a/b/x', access: 'pull', limitMs: 1_000, signal });
    return { sent, send };
  }

  it('are refused to plain HTTP, even where the host is allowed it', async () => {
    const { sent, send } = answering([{ status: 302, location: 'http://plain.example.com/x' }]);
    await expect(send()).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
    expect(sent).toHaveLength(1);
  });

  it.each([
    ['another host', 'https://cdn.example.com/x'],
    ['another port', 'https://registry-1.docker.io:8443/x'],
  ])('lose the token to %s', async (_, location) => {
    const { sent, send } = answering([{ status: 307, location }]);
    await send();
    expect(sent.map(({ url, headers }) => [url.href, headers['authorization']])).toEqual([
      ['https://registry-1.docker.io/v2/a/b/x', 'Bearer secret'],
      [location, undefined],
    ]);
  });

  it('end after five', async () => {
    const { sent, send } = answering(Array.from({ length: 9 }, () => ({ status: 302, location: '/next' })));
    await expect(send()).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    expect(sent).toHaveLength(6);
  });
});

describe('messages', () => {
  const digest = `sha256:${'a'.repeat(64)}`;

  it.each<[string, Reply, string]>([
    ['an answer of 503', { status: 503 }, ' answered 503'],
    [
      'a redirect loop',
      { status: 302, headers: { location: '?X-Signature=topsecret' } },
      'redirected more than 5 times',
    ],
    ['a redirect to nowhere', { status: 302 }, 'redirected to nowhere'],
    [
      'a redirect inside',
      { status: 302, headers: { location: 'https://10.0.0.1/x?X-Signature=topsecret' } },
      'refused to contact https://10.0.0.1',
    ],
    [
      'a redirect with a user',
      { status: 302, headers: { location: 'https://me:topsecret@example.com/x' } },
      'refused to contact https://example.com',
    ],
    ['a server that says nothing', { stallAfter: 0, body: 'x' }, 'sent nothing more in time'],
  ])('of %s name registry, repository and digest, and no secret', async (_, reply, text) => {
    const server = await startTestServer(() => reply);
    const session = startTestSession({ plain: [server], timeouts: { idle: 300 } });
    const failed = await session
      .send(getFrom(server.host, `/blobs/${digest}`))
      .then(async ({ body }) => {
        for await (const chunk of body) expect(chunk).toBeDefined();
      })
      .catch(String);
    expect(failed).toContain(`${server.host}/infra/shop@${digest}`);
    expect(failed).toContain(text);
    expect(failed).not.toContain('topsecret');
  });

  it('of a redirect to a mirror of another registry are refusals', async () => {
    const mirror = await startTestServer(() => ({}));
    const host = mirror.host.replace('127.0.0.1', 'localhost');
    const registry = await startTestServer(() => ({ status: 302, headers: { location: `http://${host}/x` } }));
    const entries = { 'other.invalid': { mirrors: [{ host, plainHttp: true, prefix: '' }] } };
    const failed = startTestSession({ plain: [registry], entries }).send(getFrom(registry.host, `/blobs/${digest}`));
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
    expect(mirror.seen).toEqual([]);
  });
});
