import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ApplyResultView } from '#core/domain/view.ts';
import { fingerprint } from '../harness/seed.ts';
import {
  receiver,
  secret,
  stack,
  startTestService,
  tenant,
  type Answer,
  type TestService,
} from '../harness/service.ts';

const EVENTS = 'application/vnd.docker.distribution.events.v2+json';
const OCI = 'application/vnd.oci.image.manifest.v1+json';
const SECRET = 'correct horse battery';

let service: TestService;
const paths = new Map<string, string>();

beforeAll(async () => {
  service = await startTestService();
  const ref = { secret: 'hook', key: 'token' };
  const answer = await service.apply(
    tenant('shop'),
    tenant('bank'),
    secret('shop', 'hook', { token: SECRET }),
    secret('bank', 'hook', { token: SECRET }),
    stack('shop', 'web'),
    stack('shop', 'api'),
    stack('bank', 'web'),
    receiver('shop', 'registry', 'distribution', ref),
    receiver('shop', 'ci', 'generic-hmac', ref),
    receiver('shop', 'asleep', 'distribution', ref, true),
  );
  for (const { kind, name, hook } of answer.as(ApplyResultView).results) {
    if (kind === 'Receiver') paths.set(name, hook ?? '');
  }
});
beforeEach(() => {
  service.rings.length = 0;
});
afterAll(() => service.close());

const push = (repository: string, id: string, change: object = {}) => ({
  events: [
    {
      id,
      action: 'push',
      target: { mediaType: OCI, repository, tag: 'prod', digest: `sha256:${'1'.repeat(64)}` },
      ...change,
    },
  ],
});

function post(name: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const url = paths.get(name) ?? name;
  return service.inject({
    method: 'POST',
    url,
    payload,
    headers: { 'content-type': EVENTS, authorization: `Bearer ${SECRET}`, ...headers },
  });
}

const signed = (body: string) => ({
  'content-type': 'application/json',
  'x-signature': `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`,
});

const seqs = async () =>
  (await service.db.selectFrom('stacks').select(['tenant', 'name', 'requested_seq']).orderBy('id').execute()).map(
    (row) => `${row.tenant}/${row.name}=${row.requested_seq}`,
  );

/** A worker that has looked at everything. */
const settle = () =>
  service.db
    .updateTable('stacks')
    .set((set) => ({ handled_seq: set.ref('requested_seq') }))
    .execute();

describe('an authentic push', () => {
  it('asks for a look at the stacks of the tenant that follow the repository, and at no other', async () => {
    await settle();
    const before = await seqs();
    const answer = await post('registry', push('infra/web', 'e1'));
    expect(answer.status).toBe(202);
    expect(answer.body).toEqual({ stacks: 1, repeated: 0, ignored: 0 });
    expect(service.rings.map((ring) => `${ring.tenant} ${ring.queue}`)).toEqual(['shop reconcile']);
    const changed = (await seqs()).filter((line) => !before.includes(line));
    expect(changed).toEqual(['shop/web=2']);
  });

  it('with a signature over the raw bytes does the same, with or without the host in its name', async () => {
    for (const repository of ['infra/api', 'registry.example.com/infra/api']) {
      await settle();
      service.rings.length = 0;
      const body = `{ "repository":  "${repository}" }`;
      const answer = await post('ci', body, signed(body));
      expect(answer.body).toEqual({ stacks: 1, repeated: 0, ignored: 0 });
      expect(service.rings).toHaveLength(1);
    }
  });

  it('that concerns nobody is accepted, because senders repeat what is refused for ever', async () => {
    const before = await seqs();
    expect((await post('registry', push('infra/unknown', 'e2'))).status).toBe(202);
    expect((await post('registry', push('infra/web', 'e3', { action: 'pull' }))).body).toEqual({
      stacks: 0,
      repeated: 0,
      ignored: 1,
    });
    expect((await post('registry', { events: [] })).status).toBe(202);
    expect(await seqs()).toEqual(before);
    expect(service.rings).toEqual([]);
  });

  it('a thousand times over asks once', async () => {
    await settle();
    const before = await seqs();
    const answers: Answer[] = [];
    for (let batch = 0; batch < 20; batch += 1) {
      answers.push(
        ...(await Promise.all(Array.from({ length: 50 }, () => post('registry', push('infra/web', 'same'))))),
      );
    }
    expect(answers.every((answer) => answer.status === 202)).toBe(true);
    expect((await seqs()).filter((line) => !before.includes(line))).toHaveLength(1);
    expect(service.rings).toHaveLength(1);
    const deliveries = await service.db.selectFrom('deliveries').selectAll().where('key', '=', 'same').execute();
    expect(deliveries).toHaveLength(1);
  });

  it('a thousand different ones before a worker looks count as one request', async () => {
    await settle();
    const before = await seqs();
    const body = '{"repository":"infra/web"}';
    for (let batch = 0; batch < 20; batch += 1) {
      await Promise.all(Array.from({ length: 50 }, () => post('ci', body, signed(body))));
    }
    const after = await seqs();
    expect(after.filter((line) => !before.includes(line))).toHaveLength(1);
    const bumps = Number(after[0]?.split('=')[1]) - Number(before[0]?.split('=')[1]);
    expect(bumps).toBe(1);
  });
});

describe('a webhook that is', () => {
  const body = '{"repository":"infra/web"}';
  it.each<[string, number, () => Promise<Answer>]>([
    ['without the secret', 401, () => post('registry', push('infra/web', 'f1'), { authorization: '' })],
    ['with another secret', 401, () => post('registry', push('infra/web', 'f2'), { authorization: 'Bearer wrong' })],
    ['without a signature', 401, () => post('ci', body, { 'content-type': 'application/json' })],
    [
      'signed with sha1',
      401,
      () => post('ci', body, { 'x-signature': `sha1=${createHmac('sha1', SECRET).update(body).digest('hex')}` }),
    ],
    ['signed and then changed', 401, () => post('ci', `${body} `, signed(body))],
    ['no JSON', 400, () => post('registry', '{"events":')],
    ['of another shape', 400, () => post('registry', { events: [{ id: 1 }] })],
    ['empty', 400, () => post('registry', '')],
    ['of another type', 415, () => post('registry', push('infra/web', 'f3'), { 'content-type': 'text/plain' })],
    ['for a path nobody has', 404, () => post('/hooks/0123456789', push('infra/web', 'f4'))],
    ['for a suspended receiver', 503, () => post('asleep', push('infra/web', 'f5'))],
    ['too large', 413, () => post('registry', 'x'.repeat(3 * 1024 * 1024 + 1))],
    ['too large for a path nobody has', 413, () => post('/hooks/0123456789', 'x'.repeat(3 * 1024 * 1024 + 1))],
  ])('%s gets %i and changes nothing', async (_name, status, send) => {
    const before = await fingerprint(service.db);
    const answer = await send();
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    expect(answer.body).toMatchObject({ status });
    expect(await fingerprint(service.db)).toBe(before);
    expect(service.rings).toEqual([]);
  });

  it('authentic for one receiver is forged for one with another secret', async () => {
    await service.apply(
      secret('shop', 'other', { token: 'another secret' }),
      receiver('shop', 'second', 'distribution', { secret: 'other', key: 'token' }),
    );
    const before = await fingerprint(service.db);
    const list = await service.call('GET', '/v1/tenants/shop/receivers', service.admin);
    const hook = /"name":"second"[^}]*"hook":"([^"]+)"/.exec(list.text)?.[1] ?? '';
    expect((await post(hook, push('infra/web', 'g1'))).status).toBe(401);
    expect(await fingerprint(service.db)).toBe(before);
  });
});

it('writes neither the path of a hook nor its secret into the log', () => {
  const log = service.log.join('');
  expect(log).toContain('answered');
  expect(log).not.toContain(SECRET);
  for (const path of paths.values()) expect(log).not.toContain(path);
});
