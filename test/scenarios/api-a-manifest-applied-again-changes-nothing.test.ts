import { afterAll, beforeAll, expect, it } from 'vitest';
import { ApplyResultView, StackView } from '#core/domain/view.ts';
import { fingerprint } from '../harness/seed.ts';
import { receiver, secret, stack, startTestService, tenant, type TestService } from '../harness/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service.close());

const web = (change: object = {}) =>
  stack('shop', 'web', {
    pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } },
    ...change,
  });
const token = {
  apiVersion: 'plumbline.dev/v1alpha1',
  kind: 'Token',
  metadata: { name: 'ci', tenant: 'shop' },
  spec: { role: 'operator' },
};
const all = () => [
  web(),
  token,
  receiver('shop', 'registry', 'distribution', { secret: 'db', key: 'password' }),
  secret('shop', 'db', { password: 'hunter22' }),
  tenant('shop'),
];
const actions = async (...manifests: object[]) =>
  (await service.apply(...manifests)).as(ApplyResultView).results.map(({ kind, action }) => `${kind} ${action}`);

it('makes everything in one request, whatever its order, and rings for the stack', async () => {
  service.rings.length = 0;
  const answer = await service.apply(...all());
  const { results } = answer.as(ApplyResultView);
  expect(results.map((result) => result.kind)).toEqual(['Stack', 'Token', 'Receiver', 'Secret', 'Tenant']);
  expect(results.every((result) => result.action === 'created')).toBe(true);
  expect(results[1]?.token).toMatch(/^plumb_/);
  expect(results[2]?.hook).toMatch(/^\/hooks\/[\w-]{32}$/);
  expect(service.rings).toHaveLength(1);
});

it('changes nothing when it is applied again', async () => {
  const before = await fingerprint(service.db);
  service.rings.length = 0;
  const expected = ['Stack', 'Token', 'Receiver', 'Secret', 'Tenant'].map((kind) => `${kind} unchanged`);
  expect(await actions(...all())).toEqual(expected);
  expect(await fingerprint(service.db)).toBe(before);
  expect(service.rings).toEqual([]);
});

it('gives a changed spec a new generation, and its author', async () => {
  expect(await actions(web({ approval: { mode: 'auto' } }))).toEqual(['Stack changed']);
  const view = (await service.call('GET', '/v1/tenants/shop/stacks/web', service.admin)).as(StackView);
  expect(view).toMatchObject({ generation: 2, spec: { approval: { mode: 'auto' } } });
  expect(view.specBy).toMatch(/^installation\//);
});

it('rings for the stacks that use a secret when it changes', async () => {
  service.rings.length = 0;
  expect(await actions(secret('shop', 'db', { password: 'hunter33' }))).toEqual(['Secret changed']);
  expect(service.rings).toHaveLength(1);
  const list = await service.call('GET', '/v1/tenants/shop/secrets', service.admin);
  expect(list.body).toMatchObject({ items: [{ name: 'db', version: 2 }] });
});

it('is all or none: one bad manifest keeps the good ones out', async () => {
  const before = await fingerprint(service.db);
  const bad = stack('shop', 'bad', { credentials: { apply: 'nobody' } });
  const answer = await service.call('POST', '/v1/apply', service.admin, { manifests: [stack('shop', 'good'), bad] });
  expect(answer.status).toBe(422);
  expect(await fingerprint(service.db)).toBe(before);
});

it('finds in a dry run what an apply would, and changes nothing', async () => {
  const before = await fingerprint(service.db);
  service.rings.length = 0;
  const manifests = [stack('fresh', 'web'), tenant('fresh'), { ...token, metadata: { name: 'dry', tenant: 'fresh' } }];
  const answer = await service.call('POST', '/v1/apply', service.admin, { manifests, dryRun: true });
  expect(answer.as(ApplyResultView)).toMatchObject({ dryRun: true, results: [{ action: 'created' }, {}, {}] });
  expect(answer.text).not.toContain('plumb_');
  const bad = { manifests: [stack('shop', 'x', { credentials: { plan: 'nobody' } })], dryRun: true };
  expect((await service.call('POST', '/v1/apply', service.admin, bad)).status).toBe(422);
  expect(await fingerprint(service.db)).toBe(before);
  expect(service.rings).toEqual([]);
});

const source = (change: object) => ({ source: { repository: 'oci://registry.example.com/a', ref: {}, ...change } });
it.each<[string, object, RegExp]>([
  ['an unknown field', stack('shop', 'x', { aproval: {} }), /manifests\/0\/spec does not know aproval/],
  ['an unknown kind', { ...tenant('x'), kind: 'Tenent' }, /kind must be one of/],
  ['another version', { ...tenant('x'), apiVersion: 'v1' }, /apiVersion must be/],
  ['a name that is no label', tenant('Not_A_Label'), /metadata\/name must match/],
  ['a repository without a name', stack('shop', 'x', source({ repository: 'oci://host' })), /spec\/source\/repository/],
  ['a range that is none', stack('shop', 'x', source({ ref: { semver: 'newest' } })), /semver range/],
  ['a path that leads out', stack('shop', 'x', source({ path: '../../etc' })), /leads out/],
  ['an interval of nothing', stack('shop', 'x', source({ interval: '0s' })), /spec\/source\/interval/],
  [
    'an approval that never expires',
    stack('shop', 'x', { approval: { mode: 'manual', expires: '30d' } }),
    /approval\/expires/,
  ],
  [
    'an approval mode that is none',
    stack('shop', 'x', { approval: { mode: 'never' } }),
    /must be auto or manual or on-destructive/,
  ],
  [
    'a secret that does not exist',
    stack('shop', 'x', { credentials: { plan: 'nobody' } }),
    /secret nobody does not exist/,
  ],
  [
    'a key that does not exist',
    stack('shop', 'x', { pulumi: { stack: 'prod', secrets: { a: { secret: 'db', key: 'pin' } } } }),
    /secret db has no key pin/,
  ],
])('refuses %s and names it', async (_name, manifest, message) => {
  const answer = await service.call('POST', '/v1/apply', service.admin, { manifests: [manifest] });
  expect(answer.status).toBe(422);
  expect(answer.text).toMatch(message);
  expect(answer.headers['content-type']).toBe('application/problem+json');
});

it('never repeats the value of a secret in what it says is wrong', async () => {
  const manifests = [
    secret('shop', 'Bad_Name', { password: 'hunter44' }),
    { ...secret('shop', 'x', {}), spec: { data: { a: 'hunter44' }, b: 'hunter44' } },
  ];
  const answer = await service.call('POST', '/v1/apply', service.admin, { manifests });
  expect(answer.status).toBe(422);
  expect(answer.text).not.toContain('hunter44');
  expect(service.log.join('')).not.toContain('hunter44');
});

it('does not show a token again, and does not change its role in silence', async () => {
  const again = (await service.apply(token)).as(ApplyResultView).results[0];
  expect(again).toEqual({ kind: 'Token', tenant: 'shop', name: 'ci', action: 'unchanged' });
  const answer = await service.call('POST', '/v1/apply', service.admin, {
    manifests: [{ ...token, spec: { role: 'admin' } }],
  });
  expect(answer.status).toBe(409);
});
