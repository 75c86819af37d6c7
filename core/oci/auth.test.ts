import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { createAuthenticator } from './auth.ts';
import { digestOf } from './digest.ts';
import type { Http } from './http.ts';
import { OCI_MANIFEST } from './media-types.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from './registry-client.ts';
import { startTestServer, type Reply, type TestServer } from './test-server.ts';

const signal = AbortSignal.timeout(20_000);
const FOUND: Reply = { headers: { 'content-type': OCI_MANIFEST, 'docker-content-digest': digestOf(Buffer.from('')) } };
const alice = { username: 'alice', password: 'p:w' };

function clientFor(servers: TestServer[], options: Partial<RegistryClientOptions> = {}): RegistryClient {
  const client = createRegistryClient({
    plainHttpHosts: servers.map(({ host }) => host),
    retry: { attempts: 1 },
    ...options,
  });
  onTestFinished(() => client.close());
  return client;
}

/** A registry that takes the tokens its token server gives out: `t1`, `t2` … */
async function startBearer(over: { token?: Reply; valid?: (token: string) => boolean; delayMs?: number } = {}) {
  let issued = 0;
  const tokens = await startTestServer(async () => {
    await sleep(over.delayMs ?? 0);
    issued += 1;
    return over.token ?? { body: JSON.stringify({ token: `t${issued}`, expires_in: 300 }) };
  });
  const challenge = `Bearer realm="${tokens.origin}/token",service="svc",scope="repository:infra/shop:pull"`;
  const registry = await startTestServer(({ authorization }) => {
    const token = authorization?.startsWith('Bearer ') === true ? authorization.slice(7) : undefined;
    const valid = token !== undefined && (over.valid?.(token) ?? true);
    return valid ? FOUND : { status: 401, headers: { 'www-authenticate': challenge } };
  });
  return { tokens, registry, repository: { host: registry.host, name: 'infra/shop' } };
}

describe('Bearer authentication', () => {
  it('fetches a token with the credentials, and one only while it lasts', async () => {
    const { tokens, registry, repository } = await startBearer();
    const client = clientFor([registry, tokens], { credentials: () => alice });
    for (let asked = 0; asked < 3; asked += 1) await client.resolve(repository, 'prod', signal);
    const basic = `Basic ${Buffer.from('alice:p:w').toString('base64')}`;
    const url = '/token?service=svc&scope=repository%3Ainfra%2Fshop%3Apull&client_id=plumbline';
    expect(tokens.seen.map((seen) => [seen.url, seen.authorization])).toEqual([[url, basic]]);
    expect(registry.seen.map((seen) => seen.authorization)).toEqual([undefined, 'Bearer t1', 'Bearer t1', 'Bearer t1']);
  });

  it('is anonymous without credentials', async () => {
    const { tokens, registry, repository } = await startBearer();
    await clientFor([registry, tokens]).resolve(repository, 'prod', signal);
    expect(tokens.seen.map((seen) => seen.authorization)).toEqual([undefined]);
  });

  it('fetches one token for many requests at once', async () => {
    const { tokens, registry, repository } = await startBearer({ delayMs: 50 });
    const client = clientFor([registry, tokens]);
    await Promise.all(Array.from({ length: 8 }, () => client.resolve(repository, 'prod', signal)));
    expect(tokens.seen).toHaveLength(1);
  });

  it('renews a token before its end', async () => {
    const { tokens, registry, repository } = await startBearer({
      token: { body: '{"access_token":"x","expires_in":0.5}' },
    });
    const client = clientFor([registry, tokens]);
    await client.resolve(repository, 'prod', signal);
    await sleep(420);
    await client.resolve(repository, 'prod', signal);
    expect(tokens.seen).toHaveLength(2);
  });

  it('renews a token the registry no longer takes, once', async () => {
    const dead = new Set<string>();
    const { tokens, registry, repository } = await startBearer({ valid: (token) => !dead.has(token) });
    const client = clientFor([registry, tokens]);
    await client.resolve(repository, 'prod', signal);
    dead.add('t1');
    await client.resolve(repository, 'prod', signal);
    expect(registry.seen.at(-1)?.authorization).toBe('Bearer t2');
    for (let token = 0; token < 10; token += 1) dead.add(`t${token}`);
    await expect(client.resolve(repository, 'prod', signal)).rejects.toMatchObject({ reason: 'SourceUnauthorized' });
    expect(tokens.seen.length).toBeLessThanOrEqual(4);
  });

  it('keeps the tokens of two identities apart', async () => {
    const { tokens, registry, repository } = await startBearer();
    const client = clientFor([registry, tokens]);
    await client.withCredentials(alice).resolve(repository, 'prod', signal);
    await client.withCredentials({ username: 'bob', password: 'p:w' }).resolve(repository, 'prod', signal);
    await client.withCredentials(alice).resolve(repository, 'prod', signal);
    expect(registry.seen.map((seen) => seen.authorization)).toEqual([
      undefined,
      'Bearer t1',
      undefined,
      'Bearer t2',
      'Bearer t1',
    ]);
  });

  it.each<[string, Reply, string]>([
    ['refuses the credentials', { status: 401 }, 'SourceUnauthorized'],
    ['fails', { status: 503 }, 'SourceUnreachable'],
    ['answers no token', { body: '{}' }, 'SourceUnreachable'],
    [
      'answers a token that would break a header',
      { body: JSON.stringify({ token: 'a\r\nb: c' }) },
      'SourceUnreachable',
    ],
    ['redirects', { status: 302, headers: { location: '/elsewhere' } }, 'SourceUnreachable'],
    ['answers without end', { body: Buffer.alloc(200_000, 32), chunked: true }, 'ArtifactTooLarge'],
  ])('fails when the token server %s', async (_, token, reason) => {
    const { tokens, registry, repository } = await startBearer({ token });
    const failed = clientFor([registry, tokens], { credentials: () => alice }).resolve(repository, 'prod', signal);
    await expect(failed).rejects.toMatchObject({ reason });
  });

  it('says nothing of a password in its errors', async () => {
    const { tokens, registry, repository } = await startBearer({ token: { status: 401, body: '{"errors":[]}' } });
    const failed = clientFor([registry, tokens], { credentials: () => alice }).resolve(repository, 'prod', signal);
    const message = await failed.catch((error: unknown) => String(error));
    expect(message).toContain('answered 401');
    expect(message).not.toMatch(/p:w|cDp3|alice/);
  });

  it.each([
    ['a server of plain HTTP nobody allowed', 'http://127.0.0.1:1/token'],
    ['a metadata address', 'https://169.254.169.254/token'],
    ['no URL', 'token'],
    ['another scheme', 'file:///etc/passwd'],
  ])('sends no credentials to %s', async (_, realm) => {
    const registry = await startTestServer(() => ({
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="${realm}"` },
    }));
    const failed = clientFor([registry], { credentials: () => alice }).resolve(
      { host: registry.host, name: 'a' },
      'b',
      signal,
    );
    await expect(failed).rejects.toMatchObject({ kind: 'stalled' });
  });
});

describe('Basic authentication', () => {
  it('waits for the challenge, and goes ahead by itself from then on', async () => {
    const basic = `Basic ${Buffer.from('alice:p:w').toString('base64')}`;
    const registry = await startTestServer(({ authorization }) =>
      authorization === basic ? FOUND : { status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } },
    );
    const client = clientFor([registry], { credentials: () => alice });
    const repository = { host: registry.host, name: 'a' };
    await client.resolve(repository, 'b', signal);
    await client.resolve(repository, 'b', signal);
    expect(registry.seen.map((seen) => seen.authorization)).toEqual([undefined, basic, basic]);
    const wrong = client.withCredentials({ username: 'alice', password: 'x' }).resolve(repository, 'b', signal);
    await expect(wrong).rejects.toMatchObject({ kind: 'stalled', reason: 'SourceUnauthorized' });
    const none = clientFor([registry]).resolve(repository, 'b', signal);
    await expect(none).rejects.toThrow('none are set for exactly this host and port; see spec.source.credentials');
  });
});

it('asks no token server for somebody who has gone, so nobody is left to hear of its failure', async () => {
  const gone = AbortSignal.abort(new Error('gone'));
  const asked: string[] = [];
  const http: Http = {
    async send({ url }) {
      asked.push(url.href);
      throw transient('SourceUnreachable', 'away');
    },
    close: async () => undefined,
  };
  const challenge = { scheme: 'bearer', params: { realm: 'https://tokens.example/token' } };
  const context = { host: 'r.example', home: 'r.example', scope: 'repository:a:pull', credentials: undefined };
  const answer = createAuthenticator(http, 1_000).answer([challenge], context, undefined, gone);
  await expect(answer).rejects.toThrow('gone');
  await sleep(10);
  expect(asked).toEqual([]);
});
