import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EventView, NewTokenView, pageOf, ProblemView, RunView, StackView } from '#core/domain/view.ts';
import { seedWaitingRun } from '../harness/seed.ts';
import { stack, startTestService, tenant, type TestService } from '../harness/service.ts';

let service: TestService;

beforeAll(async () => {
  service = await startTestService();
  await service.apply(tenant('shop'), ...['a', 'b', 'c', 'd', 'e'].map((name) => stack('shop', name)));
});
afterAll(() => service.close());

describe('an error', () => {
  const json = { 'content-type': 'application/json' };
  it.each([
    [404, 'GET', '/nowhere', {}, undefined],
    [404, 'PUT', '/v1/tenants', {}, undefined],
    [404, 'GET', '/v1/tenants/nobody', {}, undefined],
    [404, 'GET', '/v1/tenants/shop/stacks/nothing', {}, undefined],
    [400, 'GET', '/v1/tenants/shop/stacks?limit=0', {}, undefined],
    [400, 'GET', '/v1/tenants/shop/stacks?limit=501', {}, undefined],
    [400, 'GET', '/v1/tenants/shop/stacks?colour=red', {}, undefined],
    [400, 'GET', '/v1/tenants/shop/stacks?cursor=%00%ff', {}, undefined],
    [400, 'GET', '/v1/tenants/shop/events?cursor=MTI', {}, undefined],
    [400, 'GET', '/v1/tenants/shop/stacks/UPPER', {}, undefined],
    [400, 'GET', '/v1/tenants/%E0%A4%A', {}, undefined],
    [400, 'POST', '/v1/apply', json, '{"manifests":'],
    [422, 'POST', '/v1/apply', json, '{}'],
    [422, 'POST', '/v1/apply', json, '{"manifests":[]}'],
    [422, 'POST', '/v1/apply', json, '[]'],
    [415, 'POST', '/v1/apply', { 'content-type': 'text/html' }, '<p>'],
    [413, 'POST', '/v1/apply', json, `{"manifests":["${'x'.repeat(1024 * 1024)}"]}`],
  ] as const)('%i for %s %s says what to do', async (status, method, url, headers, payload) => {
    const authorization = `Bearer ${service.admin}`;
    const answer = await service.inject({
      method,
      url,
      headers: { ...headers, authorization },
      ...(payload !== undefined && { payload }),
    });
    expect(answer.status, answer.text).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    const problem = answer.as(ProblemView);
    expect(problem).toMatchObject({ status, instance: answer.headers['x-request-id'] });
    expect(problem.detail.length).toBeGreaterThan(5);
  });

  it('of our own making tells nothing but where to look', async () => {
    await sql`alter table revisions rename to hidden`.execute(service.db);
    const answer = await service.call('GET', '/v1/tenants/shop/stacks/a/revisions', service.admin);
    await sql`alter table hidden rename to revisions`.execute(service.db);
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('revisions');
    expect(service.log.join('')).toContain(answer.as(ProblemView).instance);
  });
});

describe('a list', () => {
  it('of stacks is complete over its pages, and ends', async () => {
    const names: string[] = [];
    let cursor: string | null = '';
    for (let pages = 0; cursor !== null; pages += 1) {
      expect(pages).toBeLessThan(5);
      const query: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const page = (await service.call('GET', `/v1/tenants/shop/stacks?limit=2${query}`, service.admin)).as(
        pageOf(StackView),
      );
      names.push(...page.items.map((item) => item.name));
      cursor = page.next;
    }
    expect(names).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('of runs begins with the newest', async () => {
    for (const salt of ['1', '2', '3']) {
      await seedWaitingRun(service.db, { tenant: 'shop', stack: 'a', salt });
      await service.db.updateTable('runs').set({ state: 'superseded', finished_at: new Date() }).execute();
    }
    const first = (await service.call('GET', '/v1/tenants/shop/stacks/a/runs?limit=2', service.admin)).as(
      pageOf(RunView),
    );
    expect(first.items.map((run) => run.number)).toEqual([3, 2]);
    const rest = await service.call(
      'GET',
      `/v1/tenants/shop/stacks/a/runs?limit=2&cursor=${first.next}`,
      service.admin,
    );
    expect(rest.as(pageOf(RunView))).toMatchObject({ items: [{ number: 1 }], next: null });
  });

  it('of events in the order of their commits goes on from where it ended', async () => {
    const read = async (cursor: string | null) => {
      const query = cursor === null ? '' : `&cursor=${cursor}`;
      const url = `/v1/tenants/shop/events?order=oldest&limit=500${query}`;
      return (await service.call('GET', url, service.admin)).as(pageOf(EventView));
    };
    const first = await read(null);
    expect(first.items.length).toBeGreaterThanOrEqual(5);
    expect((await read(first.next)).items).toEqual([]);
    await service.call('POST', '/v1/tenants/shop/stacks/b/reconcile', service.admin);
    const next = await read(first.next);
    expect(next.items.map((event) => [event.type, event.stack])).toEqual([['ReconcileRequested', 'b']]);
    expect((await read(next.next)).next).toBe(next.next);
  });
});

describe('a token', () => {
  it('is shown once, and never in a list', async () => {
    const body = { name: 'bot', role: 'viewer', expires: '1h' };
    const made = await service.call('POST', '/v1/tenants/shop/tokens', service.admin, body);
    expect(made.status).toBe(201);
    const { token, expiresAt } = made.as(NewTokenView);
    expect(new Date(expiresAt ?? 0).getTime()).toBeGreaterThan(Date.now() + 3_000_000);
    expect((await service.call('GET', '/v1/tenants/shop', token)).status).toBe(200);
    const list = await service.call('GET', '/v1/tenants/shop/tokens', service.admin);
    expect(list.text).toContain('"bot"');
    expect(list.text).not.toContain(token);
    expect(service.log.join('')).not.toContain(token);
    expect((await service.call('POST', '/v1/tenants/shop/tokens', service.admin, body)).status).toBe(409);
  });
});

describe('the process', () => {
  it('is alive and ready, and counts what it answered', async () => {
    expect((await service.call('GET', '/healthz')).body).toEqual({ status: 'alive' });
    expect((await service.call('GET', '/readyz')).body).toEqual({ status: 'ready' });
    const metrics = await service.call('GET', '/metrics', service.admin);
    expect(metrics.text).toContain('plumbline_http_request_seconds_count{route="healthz",method="GET",status="200"} 1');
  });

  it('is not ready while Redis is away, and says so', async () => {
    service.redis.up = false;
    const answer = await service.call('GET', '/readyz');
    service.redis.up = true;
    expect(answer.status).toBe(503);
    expect(answer.as(ProblemView).detail).toContain('Redis');
    expect((await service.call('GET', '/healthz')).status).toBe(200);
  });

  it('describes itself in OpenAPI 3.1', async () => {
    const answer = await service.call('GET', '/openapi.json');
    expect(answer.body).toMatchObject({
      openapi: '3.1.0',
      components: { schemas: { Stack: {}, StackView: {}, Problem: {} } },
    });
    expect(answer.text).not.toContain('def-');
  });
});
