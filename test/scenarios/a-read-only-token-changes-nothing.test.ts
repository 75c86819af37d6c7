import { afterAll, beforeAll, expect, it } from 'vitest';
import { everyRoute, type WalkedRoute } from '../harness/routes.ts';
import { fingerprint, seedWaitingRun } from '../harness/seed.ts';
import { receiver, secret, stack, startTestService, tenant, type TestService } from '../harness/service.ts';

let service: TestService;
let routes: WalkedRoute[];

beforeAll(async () => {
  service = await startTestService();
  await service.apply(
    tenant('shop'),
    secret('shop', 'db', { password: 'hunter22' }),
    stack('shop', 'web'),
    receiver('shop', 'registry', 'distribution', { secret: 'db', key: 'password' }),
  );
  await service.token('shop', 'viewer', 'reader');
  const { run, planDigest } = await seedWaitingRun(service.db, { tenant: 'shop', stack: 'web' });
  const names = {
    tenant: 'shop',
    stack: 'web',
    number: String(run.number),
    name: 'reader',
    path: 'none',
    planDigest,
    urn: 'urn:x',
  };
  routes = everyRoute(service.app, names).filter((route) => route.permission !== 'open');
});
afterAll(() => service.close());

it('is refused on every route that changes something, and allowed on every one that only reads', async () => {
  const bearer = await service.token('shop', 'viewer');
  const before = await fingerprint(service.db);
  for (const route of routes) {
    const answer = await service.call(route.method, route.url, bearer, route.body);
    expect(answer.status, `${route.method} ${route.url}: ${answer.text}`).toBe(route.permission === 'read' ? 200 : 403);
  }
  expect(await fingerprint(service.db)).toBe(before);
});

it('may only read: no route that changes something asks for no more', () => {
  const writing = routes.filter((route) => route.method !== 'GET');
  expect(writing.length).toBeGreaterThan(10);
  expect(writing.filter((route) => route.permission === 'read')).toEqual([]);
});

it('changes nothing with a GET, not even for an administrator', async () => {
  const before = await fingerprint(service.db);
  for (const route of routes.filter((one) => one.method === 'GET')) {
    const answer = await service.call('GET', route.url, service.admin);
    // Nobody has had the state read: a GET does not do that.
    expect(answer.status, route.url).toBe(route.id === 'runs.state' ? 404 : 200);
  }
  expect(await fingerprint(service.db)).toBe(before);
});

it('never reads a secret back, whoever asks and whatever is logged', async () => {
  for (const route of routes.filter((one) => one.method === 'GET')) {
    const answer = await service.call('GET', route.url, service.admin);
    expect(answer.text, route.url).not.toContain('hunter22');
  }
  expect(service.log.join('')).not.toContain('hunter22');
});

it('does not learn where hooks are posted to', async () => {
  const viewer = await service.call('GET', '/v1/tenants/shop/receivers', await service.token('shop', 'viewer'));
  expect(viewer.body).toMatchObject({ items: [{ name: 'registry', hook: null }] });
  const operator = await service.call('GET', '/v1/tenants/shop/receivers', await service.token('shop', 'operator'));
  expect(operator.text).toMatch(/"hook":"\/hooks\/[\w-]{32}"/);
});
