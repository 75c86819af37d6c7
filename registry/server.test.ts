import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pushImage, sendRaw } from '../test/harness/raw-registry.ts';
import { temporaryRegistry } from '../test/harness/temporary-registry.ts';
import { startRegistry } from './server.ts';

describe('a registry with a user', () => {
  let registry: Awaited<ReturnType<typeof temporaryRegistry>>;
  beforeAll(async () => {
    registry = await temporaryRegistry({ auth: { username: 'plumb', password: 'pass:word ü' } });
  });
  afterAll(() => registry.close());

  function basic(credentials: string): string {
    return `Basic ${Buffer.from(credentials).toString('base64')}`;
  }

  it.each([basic('plumb:pass:word ü'), basic('plumb:pass:word ü').replace('Basic', 'basic')])(
    'lets %s in',
    async (header) => {
      const answer = await fetch(`${registry.url}/v2/`, { headers: { Authorization: header } });
      expect(answer.status).toBe(200);
    },
  );

  it.each([
    undefined,
    '',
    'Basic',
    basic('plumb:wrong'),
    basic('plumb:'),
    basic('other:pass:word ü'),
    basic('plumb:pass:word ü').replace('Basic', 'Bearer'),
  ])('turns %s away and asks for a login', async (header) => {
    const answer = await fetch(`${registry.url}/v2/`, {
      headers: header === undefined ? {} : { Authorization: header },
    });
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toBe('Basic realm="plumbline"');
    expect(await answer.json()).toMatchObject({ errors: [{ code: 'UNAUTHORIZED' }] });
  });

  it.each(['GET', 'PUT', 'POST', 'DELETE'])('does not say what it has to a stranger who sends %s', async (method) => {
    const answer = await fetch(`${registry.url}/v2/any/manifests/latest`, { method });
    expect(answer.status).toBe(401);
  });
});

describe('a registry', () => {
  let registry: Awaited<ReturnType<typeof temporaryRegistry>>;
  beforeAll(async () => {
    registry = await temporaryRegistry();
  });
  afterAll(() => registry.close());

  it.each([
    ['POST', '/v2/', 'GET, HEAD'],
    ['POST', '/v2/a/manifests/latest', 'GET, HEAD, PUT, DELETE'],
    ['PUT', '/v2/a/tags/list', 'GET, HEAD'],
    ['PATCH', `/v2/a/blobs/sha256:${'a'.repeat(64)}`, 'GET, HEAD, DELETE'],
    ['GET', '/v2/a/blobs/uploads/', 'POST'],
  ])('answers %s %s with what it takes: %s', async (method, path, allowed) => {
    const answer = await fetch(`${registry.url}${path}`, { method });
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, allowed]);
    expect(await answer.json()).toMatchObject({ errors: [{ code: 'UNSUPPORTED' }] });
  });

  it.each([
    '/v2/../../../../etc/passwd',
    '/v2/../../etc/manifests/passwd',
    '/v2/a/../../../etc/blobs/uploads/',
    '/v2/a%2f..%2f..%2fetc/tags/list',
    '/v2/a/manifests/..%2f..%2f..%2fetc%2fpasswd',
    '/v2/a/blobs/sha256:..%2f..%2fx',
    '/v2/a\\..\\b/tags/list',
    '/',
    '/metrics',
  ])('does not leave its folder for %s', async (path) => {
    const answer = await sendRaw(registry.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
    expect(answer).toContain('{"errors":[{"code":"');
  });

  it('refuses to start on a port that is taken', async () => {
    await expect(startRegistry({ dir: registry.dir, port: registry.port })).rejects.toThrow(/EADDRINUSE/);
  });

  it('has everything again when it is closed and started', async () => {
    const digest = await pushImage(`${registry.url}/v2/kept`, 'v1', 'content');
    const second = await startRegistry({ dir: registry.dir });
    try {
      const answer = await fetch(`${second.url}/v2/kept/manifests/v1`);
      expect([answer.status, answer.headers.get('docker-content-digest')]).toEqual([200, digest]);
    } finally {
      await second.close();
    }
  });

  it('closes although a client keeps its connection open', { timeout: 10_000 }, async () => {
    const own = await temporaryRegistry();
    await (await fetch(`${own.url}/v2/`)).text();
    await own.close();
    await expect(fetch(`${own.url}/v2/`)).rejects.toThrow('fetch failed');
  });
});
