import { describe, expect, it } from 'vitest';
import { createTestAuthority } from './test-certificates.ts';
import { startTestProxy, startTestServer } from './test-server.ts';
import { getFrom, startTestSession } from './test-session.ts';

async function startTls(over: { clientCa?: string } = {}) {
  const authority = await createTestAuthority();
  const { cert, key } = await authority.issue('server');
  const client = over.clientCa === undefined ? {} : { ca: over.clientCa, requestCert: true, rejectUnauthorized: true };
  const server = await startTestServer(() => ({ body: 'ok' }), { cert, key, ...client });
  return { authority, server };
}

describe('certificates', () => {
  it('of an unknown authority are refused, with what to set', async () => {
    const { server } = await startTls();
    const failed = startTestSession({}).send(getFrom(server.host, '/manifests/prod'));
    await expect(failed).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    await expect(failed).rejects.toThrow(/is not trusted.*PLUMBLINE_REGISTRIES_FILE/);
    await expect(failed).rejects.toThrow(`${server.host}/infra/shop:prod`);
    expect(server.seen).toEqual([]);
  });

  it('of an authority that is set for the host are believed, for that host only', async () => {
    const { authority, server } = await startTls();
    const { cert, key } = await authority.issue('server');
    const other = await startTestServer(() => ({}), { cert, key });
    const session = startTestSession({ entries: { [server.host]: { tls: { ca: authority.cert } } } });
    expect((await session.send(getFrom(server.host, '/manifests/prod'))).status).toBe(200);
    await expect(session.send(getFrom(other.host, '/manifests/prod'))).rejects.toThrow('is not trusted');
    expect(other.seen).toEqual([]);
  });

  it('of clients are shown to the host they are set for', async () => {
    const clients = await createTestAuthority('clients');
    const { authority, server } = await startTls({ clientCa: clients.cert });
    const ca = authority.cert;
    const without = startTestSession({ entries: { [server.host]: { tls: { ca } } } });
    await expect(without.send(getFrom(server.host, '/manifests/prod'))).rejects.toMatchObject({
      reason: 'SourceUnreachable',
    });
    expect(server.seen).toEqual([]);
    const own = await clients.issue('client');
    const tls = { ca, cert: own.cert, key: own.key };
    const session = startTestSession({ entries: { [server.host]: { tls } } });
    expect((await session.send(getFrom(server.host, '/manifests/prod'))).status).toBe(200);
  });
});

describe('a proxy', () => {
  it('of the registry is tunnelled through, its password included, and certificates still count', async () => {
    const { authority, server } = await startTls();
    const proxy = await startTestProxy();
    const entry = { tls: { ca: authority.cert }, proxy: new URL(`http://me:secret@${proxy.host}`) };
    const session = startTestSession({ entries: { [server.host]: entry } });
    expect((await session.send(getFrom(server.host, '/manifests/prod'))).status).toBe(200);
    expect(proxy.asked).toEqual([`CONNECT ${server.host}`]);
    expect(proxy.authorization).toEqual([`Basic ${Buffer.from('me:secret').toString('base64')}`]);
    const strict = startTestSession({ entries: { [server.host]: { proxy: entry.proxy } } });
    await expect(strict.send(getFrom(server.host, '/manifests/prod'))).rejects.toThrow('is not trusted');
  });

  it('of the process serves every other host, and none of them is looked up here', async () => {
    const proxy = await startTestProxy();
    const url = new URL(`http://${proxy.host}`);
    const settings = { proxies: { https: url, http: url, noProxy: ['direct.invalid'] } };
    const session = startTestSession({ entries: { 'registry.invalid': { plainHttp: true } }, settings });
    expect((await session.send(getFrom('registry.invalid', '/manifests/prod'))).status).toBe(200);
    await expect(session.send(getFrom('direct.invalid', '/manifests/prod'))).rejects.toMatchObject({
      reason: 'SourceUnreachable',
    });
    expect(proxy.asked).toEqual(['GET http://registry.invalid/v2/infra/shop/manifests/prod']);
  });

  it('that fails is an error without its password', async () => {
    const session = startTestSession({
      entries: { 'registry.invalid': { proxy: new URL('http://me:topsecret@127.0.0.1:1') } },
    });
    const message = await session.send(getFrom('registry.invalid', '/manifests/prod')).catch(String);
    expect(message).toContain('registry.invalid/infra/shop:prod');
    expect(message).not.toContain('topsecret');
  });
});
