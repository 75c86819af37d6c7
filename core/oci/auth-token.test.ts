import { describe, expect, it } from 'vitest';
import type { RegistryCredentials } from './port.ts';
import { startTestServer, type Reply, type Seen } from './test-server.ts';
import { getFrom, startTestSession } from './test-session.ts';

const GRANTED: Reply = { body: JSON.stringify({ token: 'granted', expires_in: 300 }) };
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

/** A registry that takes what `accepts` says, and its token server. */
async function start(
  over: { token?: (seen: Seen) => Reply; accepts?: (header: string, seen: Seen) => boolean; refuse?: Reply } = {},
) {
  const tokens = await startTestServer((seen) => over.token?.(seen) ?? GRANTED);
  const registry = await startTestServer((seen) => {
    const { authorization } = seen;
    const challenge = `Bearer realm="${tokens.origin}/token",service="svc",scope="repository:infra/shop:pull"`;
    if (authorization === undefined) return { status: 401, headers: { 'www-authenticate': challenge } };
    if (over.accepts?.(authorization, seen) ?? true) return { body: 'ok' };
    return over.refuse ?? { status: 401, headers: { 'www-authenticate': `${challenge},error="insufficient_scope"` } };
  });
  const session = (credentials?: RegistryCredentials) =>
    startTestSession({ plain: [tokens, registry], credentials: () => credentials });
  return { tokens, registry, session };
}

function asking(origin: string): Reply {
  return { status: 401, headers: { 'www-authenticate': `Bearer realm="${origin}/token"` } };
}

/** An unsigned JWT with the access claims of the distribution token specification. */
function jwt(access: unknown): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ access })}.c2ln`;
}

describe('an identity token', () => {
  const credentials = { identityToken: 'refresh/me', username: 'alice' };

  it('is exchanged by POST and never sent to the registry', async () => {
    const { tokens, registry, session } = await start();
    expect((await session(credentials).send(getFrom(registry.host, '/manifests/prod'))).status).toBe(200);
    const [asked] = tokens.seen;
    expect([asked?.method, asked?.url, asked?.authorization]).toEqual(['POST', '/token', undefined]);
    expect(Object.fromEntries(new URLSearchParams(asked?.body.toString()))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'refresh/me',
      client_id: 'plumbline',
      service: 'svc',
      scope: 'repository:infra/shop:pull',
    });
    expect(registry.seen.map(({ authorization }) => authorization)).toEqual([undefined, 'Bearer granted']);
  });

  it.each([404, 405])('is sent by GET where POST answers %s', async (status) => {
    const { tokens, registry, session } = await start({
      token: ({ method }) => (method === 'POST' ? { status } : GRANTED),
    });
    expect((await session(credentials).send(getFrom(registry.host, '/manifests/prod'))).status).toBe(200);
    expect(tokens.seen.map(({ method, authorization }) => [method, authorization])).toEqual([
      ['POST', undefined],
      ['GET', basic('alice:refresh/me')],
    ]);
  });

  it('that is refused is an error without it', async () => {
    const { registry, session } = await start({
      token: () => ({ status: 400, body: '{"error":"invalid_grant","error_description":"refresh/me is bad"}' }),
    });
    const failed = session(credentials).send(getFrom(registry.host, '/manifests/prod'));
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'SourceUnauthorized' });
    await expect(failed).rejects.toThrow('(invalid_grant)');
    await expect(failed).rejects.not.toThrow('refresh/me');
  });

  it('is no answer to a registry that asks for a password', async () => {
    const registry = await startTestServer(() => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="r"' } }));
    const session = startTestSession({ plain: [registry], credentials: () => credentials });
    await expect(session.send(getFrom(registry.host, '/manifests/prod'))).rejects.toThrow('hold a token');
  });
});

describe('a user and a password', () => {
  it('are sent by POST where the token server knows no GET', async () => {
    const { tokens, registry, session } = await start({
      token: ({ method }) => (method === 'GET' ? { status: 405 } : { body: '{"access_token":"granted"}' }),
    });
    const alice = { username: 'alice', password: 'p&w' };
    expect((await session(alice).send(getFrom(registry.host, '/manifests/prod'))).status).toBe(200);
    const form = new URLSearchParams(tokens.seen[1]?.body.toString());
    expect([form.get('grant_type'), form.get('username'), form.get('password')]).toEqual(['password', 'alice', 'p&w']);
  });
});

describe('a registry token', () => {
  it('is sent as it is, and no token server asked', async () => {
    const { tokens, registry, session } = await start();
    await session({ registryToken: 'ready' }).send(getFrom(registry.host, '/manifests/prod'));
    expect(registry.seen.map(({ authorization }) => authorization)).toEqual([undefined, 'Bearer ready']);
    expect(tokens.seen).toEqual([]);
  });

  it('that is refused is an error at once', async () => {
    const { registry, session } = await start({ accepts: () => false });
    const own = session({ registryToken: 'old' });
    expect((await own.send(getFrom(registry.host, '/manifests/prod'))).status).toBe(401);
    await expect(own.send(getFrom(registry.host, '/manifests/prod'))).rejects.toMatchObject({
      reason: 'SourceUnauthorized',
    });
    expect(registry.seen).toHaveLength(3);
  });
});

describe('tokens', () => {
  it('serve every request within their scopes', async () => {
    const { tokens, registry, session } = await start();
    const own = session();
    await own.send(getFrom(registry.host, '/manifests/prod', { access: 'pull,push' }));
    await own.send(getFrom(registry.host, '/manifests/prod'));
    expect(tokens.seen.map(({ url }) => new URL(url, 'http://t').searchParams.getAll('scope'))).toEqual([
      ['repository:infra/shop:pull,push'],
    ]);
  });

  it('for more are asked for when more is needed, and serve what went before', async () => {
    const { tokens, registry, session } = await start();
    const own = session();
    const pull = getFrom(registry.host, '/manifests/prod');
    await own.send(pull);
    await own.send({ ...pull, access: 'pull,push' });
    await own.send(pull);
    expect(tokens.seen).toHaveLength(2);
  });

  it('are kept by repository', async () => {
    const { tokens, registry, session } = await start();
    const own = session();
    await own.send(getFrom(registry.host, '/manifests/prod'));
    await own.send({
      ...getFrom(registry.host, ''),
      repository: { host: registry.host, name: 'b' },
      target: '/v2/b/x',
    });
    expect(tokens.seen).toHaveLength(2);
  });

  it.each<[string, Record<string, unknown>, number]>([
    ['fresh', { issued_at: '2026-11-24T00:04:59Z', expires_in: 300 }, 1],
    ['kept by the server for most of their life', { issued_at: '2026-11-24T00:00:00.100Z', expires_in: 300 }, 2],
    ['of a clock that is wrong', { issued_at: '2001-01-01T00:00:00Z', expires_in: 300 }, 1],
    ['without a life', { expires_in: 0 }, 1],
    ['with a life that is no number', { expires_in: 'long' }, 1],
  ])('%s: %j', async (_, body, asked) => {
    const { tokens, registry, session } = await start({
      token: () => ({
        headers: { date: 'Tue, 24 Nov 2026 00:05:00 GMT' },
        body: JSON.stringify({ token: `t${tokens.seen.length}`, ...body }),
      }),
    });
    const own = session();
    await own.send(getFrom(registry.host, '/manifests/prod'));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await own.send(getFrom(registry.host, '/manifests/prod'));
    expect(tokens.seen).toHaveLength(asked);
  });

  it('that ran out while the answer was under way are renewed', async () => {
    let valid = 't1';
    const { tokens, registry, session } = await start({
      token: () => ({ body: JSON.stringify({ token: `t${tokens.seen.length}`, expires_in: 300 }) }),
      accepts: (header) => header === `Bearer ${valid}`,
    });
    const own = session();
    await own.send(getFrom(registry.host, '/manifests/prod'));
    valid = 't2';
    const both = [1, 2].map(() => own.send(getFrom(registry.host, '/manifests/prod')));
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([200, 200]);
    expect(tokens.seen).toHaveLength(2);
  });

  it.each<[string, string, Reply | undefined, string]>([
    [
      'names fewer rights',
      jwt([{ type: 'repository', name: 'infra/shop', actions: ['pull'] }]),
      undefined,
      'granted only repository:infra/shop:pull of repository:infra/shop:pull,push',
    ],
    ['names none', jwt([]), { status: 403 }, 'granted nothing of repository:infra/shop:pull,push'],
    ['cannot be read', 'opaque', { status: 403 }, 'does not allow repository:infra/shop:pull,push'],
  ])('with too few rights are told from wrong credentials: one that %s', async (_, token, refuse, note) => {
    const { registry, session } = await start({
      token: () => ({ body: JSON.stringify({ token }) }),
      accepts: () => false,
      ...(refuse === undefined ? {} : { refuse }),
    });
    const request = getFrom(registry.host, '/manifests/prod', { access: 'pull,push' });
    const response = await session({ username: 'a', password: 'b' }).send(request);
    expect([401, 403]).toContain(response.status);
    expect(response.note).toContain(note);
    expect(response.note).not.toContain(token);
  });
});

describe('a challenge', () => {
  it('of another origin is not answered', async () => {
    const store = await startTestServer(() => ({
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="${store.origin}/token"` },
    }));
    const registry = await startTestServer(() => ({ status: 307, headers: { location: `${store.origin}/blob` } }));
    const session = startTestSession({
      plain: [registry, store],
      credentials: () => ({ username: 'alice', password: 'secret' }),
    });
    expect((await session.send(getFrom(registry.host, '/blobs/x'))).status).toBe(401);
    expect(store.seen.map(({ url, authorization }) => [url, authorization])).toEqual([['/blob', undefined]]);
  });

  it('that names a token server on a private address is refused, unless its registry may', async () => {
    const registry = await startTestServer((seen) =>
      seen.authorization === undefined
        ? { status: 401, headers: { 'www-authenticate': 'Bearer realm="https://10.0.0.1:9/token"' } }
        : {},
    );
    const refused = startTestSession({ plain: [registry] }).send(getFrom(registry.host, '/manifests/prod'));
    await expect(refused).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
    await expect(refused).rejects.toThrow('refused to contact https://10.0.0.1:9');
  });

  it('that names a token server of plain HTTP is refused, unless that is set', async () => {
    const tokens = await startTestServer(() => GRANTED);
    const registry = await startTestServer((seen) => (seen.authorization === undefined ? asking(tokens.origin) : {}));
    const request = getFrom(registry.host, '/manifests/prod');
    const refused = startTestSession({ plain: [registry] }).send(request);
    await expect(refused).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
    expect(tokens.seen).toEqual([]);
    expect((await startTestSession({ plain: [registry, tokens] }).send(request)).status).toBe(200);
  });

  it('that names a token server whose name has a private address is refused when it is looked up', async () => {
    const tokens = await startTestServer(() => GRANTED);
    const realm = new URL(`https://localhost:${new URL(tokens.origin).port}`);
    const registry = await startTestServer(() => asking(realm.origin));
    const request = getFrom(registry.host, '/manifests/prod');
    const entry = { plainHttp: true };
    const entries = { [registry.host]: entry, 'other.invalid': { privateHosts: [realm.host] } };
    const refused = startTestSession({ entries }).send(request);
    await expect(refused).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
    await expect(refused).rejects.toThrow(/of localhost is not public/);
    // It is dialled where the registry may send us there, and then speaks no TLS.
    const allowed = startTestSession({ entries: { [registry.host]: { ...entry, privateHosts: [realm.host] } } });
    await expect(allowed.send(request)).rejects.toThrow('does not speak HTTPS');
  });
});
