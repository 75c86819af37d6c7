import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createToken } from '#core/store/tokens.ts';
import { everyRoute, type WalkedRoute } from '../harness/routes.ts';
import { startTestService, stack, tenant, type TestService } from '../harness/service.ts';

let service: TestService;
let routes: WalkedRoute[];

beforeAll(async () => {
  service = await startTestService();
  await service.apply(tenant('shop'), stack('shop', 'web'));
  const names = {
    tenant: 'shop',
    stack: 'web',
    number: '1',
    name: 'x',
    path: 'none',
    planDigest: `sha256:${'0'.repeat(64)}`,
    urn: 'urn:x',
  };
  routes = everyRoute(service.app, names);
});
afterAll(() => service.close());

describe('without a valid token', () => {
  it('every route but the open ones answers 401 with a problem document', async () => {
    for (const route of routes.filter((one) => one.permission !== 'open')) {
      const answer = await service.call(route.method, route.url, undefined, route.body);
      expect(answer.status, route.url).toBe(401);
      expect(answer.headers['content-type']).toBe('application/problem+json');
      expect(answer.headers['www-authenticate']).toContain('Bearer');
      expect(answer.body).toMatchObject({ type: 'urn:plumbline:problem:unauthenticated', status: 401 });
    }
  });

  it('only what says nothing about a tenant is open', () => {
    const open = routes.filter((route) => route.permission === 'open').map((route) => route.url);
    expect(open.sort()).toEqual([
      '/.well-known/jwks.json',
      '/.well-known/openid-configuration',
      '/healthz',
      '/hooks/none',
      // Proves itself by its signature, as a hook does by its secret.
      '/internal/v1/identity-token',
      '/openapi.json',
      '/readyz',
    ]);
  });

  it.each([
    ['another scheme', (token: string) => `Basic ${token}`],
    ['a changed token', (token: string) => `Bearer ${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`],
    ['an empty token', () => 'Bearer '],
    ['a token of a megabyte', () => `Bearer ${'a'.repeat(20_000)}`],
    ['two tokens', (token: string) => `Bearer ${token} ${token}`],
  ])('%s is refused', async (_name, header) => {
    const headers = { authorization: header(service.admin) };
    const answer = await service.inject({ method: 'GET', url: '/v1/tenants', headers });
    expect(answer.status).toBe(401);
  });

  it('an expired token is refused', async () => {
    const expiresAt = new Date(Date.now() - 1000);
    const { token } = await createToken(service.db, {
      tenant: 'shop',
      name: 'old',
      role: 'admin',
      expiresAt,
      by: 'test',
    });
    expect((await service.call('GET', '/v1/tenants', token)).status).toBe(401);
  });

  it('a deleted token stops working at once', async () => {
    const token = await service.token('shop', 'viewer', 'short');
    expect((await service.call('GET', '/v1/tenants/shop', token)).status).toBe(200);
    expect((await service.call('DELETE', '/v1/tenants/shop/tokens/short', service.admin)).status).toBe(204);
    expect((await service.call('GET', '/v1/tenants/shop', token)).status).toBe(401);
  });
});
