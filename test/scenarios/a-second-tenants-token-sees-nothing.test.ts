import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Type } from 'typebox';
import { ROLES } from '#core/domain/manifest.ts';
import { listTokens } from '#core/store/tokens.ts';
import { everyRoute, type WalkedRoute } from '../harness/routes.ts';
import { fingerprint, seedWaitingRun } from '../harness/seed.ts';
import { receiver, secret, stack, startTestService, tenant, type TestService } from '../harness/service.ts';

/** Occurs in everything the first tenant owns, so that one search finds a leak. */
const MARK = 'zebra';

let service: TestService;
let routes: WalkedRoute[];
let before: string;

beforeAll(async () => {
  service = await startTestService();
  const hook = { secret: `${MARK}-db`, key: 'password' };
  const applied = await service.apply(
    tenant(MARK),
    tenant('bank'),
    secret(MARK, `${MARK}-db`, { password: `${MARK}-password` }),
    stack(MARK, `${MARK}-web`),
    receiver(MARK, `${MARK}-registry`, 'distribution', hook),
  );
  await service.token(MARK, 'viewer', `${MARK}-token`);
  const { run, planDigest } = await seedWaitingRun(service.db, { tenant: MARK, stack: `${MARK}-web` });
  const path = /\/hooks\/([\w-]+)/.exec(applied.text)?.[1] ?? '';
  const names = {
    tenant: MARK,
    stack: `${MARK}-web`,
    number: String(run.number),
    name: `${MARK}-token`,
    path,
    planDigest,
    urn: 'urn:x',
  };
  routes = everyRoute(service.app, names);
});
afterAll(() => service.close());

describe.each(ROLES)('a token of another tenant with the role %s', (role) => {
  it('gets no data and changes nothing, on every route', async () => {
    const bearer = await service.token('bank', role);
    before = await fingerprint(service.db);
    for (const route of routes.filter((one) => one.permission !== 'open')) {
      const answer = await service.call(route.method, route.url, bearer, route.body);
      const named = route.url.includes(`/tenants/${MARK}`);
      const where = `${route.method} ${route.url} as ${role}`;
      expect(named ? [404] : route.id === 'tenants.list' ? [200] : [403, 404], where).toContain(answer.status);
      // What the caller wrote itself may come back; nothing else of the first tenant may.
      const ownWords = answer.text.replaceAll(`tenant ${MARK}`, '').replaceAll(`/tenants/${MARK}`, '');
      expect(ownWords, where).not.toContain(MARK);
    }
    expect(await fingerprint(service.db)).toBe(before);
  });

  it('is told the same about a tenant that exists and one that does not', async () => {
    const bearer = await service.token('bank', role);
    const real = await service.call('GET', `/v1/tenants/${MARK}/stacks`, bearer);
    const none = await service.call('GET', '/v1/tenants/nobody/stacks', bearer);
    expect(real.status).toBe(none.status);
    const same = (text: string) => text.replace(/"instance":"[^"]+"/, '').replaceAll(MARK, 'nobody');
    expect(same(real.text)).toBe(same(none.text));
  });

  it('lists its own tenant only', async () => {
    const bearer = await service.token('bank', role);
    const { items } = (await service.call('GET', '/v1/tenants', bearer)).as(
      Type.Object({ items: Type.Array(Type.Object({ name: Type.String() })) }),
    );
    expect(items.map((item) => item.name)).toEqual(['bank']);
  });
});

describe('an administrator of one tenant', () => {
  it('makes no tenant, and nothing in another one', async () => {
    const bearer = await service.token('bank', 'admin');
    before = await fingerprint(service.db);
    const foreign = [
      tenant('third'),
      tenant('bank'),
      stack(MARK, 'web'),
      secret(MARK, `${MARK}-db`, { password: 'mine' }),
    ];
    for (const manifest of foreign) {
      const answer = await service.call('POST', '/v1/apply', bearer, { manifests: [manifest] });
      expect([403, 404]).toContain(answer.status);
    }
    expect(await fingerprint(service.db)).toBe(before);
  });

  it('names no secret of another tenant', async () => {
    const bearer = await service.token('bank', 'admin');
    const spec = { credentials: { plan: `${MARK}-db` } };
    const answer = await service.call('POST', '/v1/apply', bearer, { manifests: [stack('bank', 'thief', spec)] });
    expect(answer.status).toBe(422);
    expect((await listTokens(service.db, MARK)).map((token) => token.name)).toEqual([`${MARK}-token`]);
  });
});
