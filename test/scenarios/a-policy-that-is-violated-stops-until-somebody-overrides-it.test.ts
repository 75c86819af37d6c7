import { afterEach, expect, it } from 'vitest';
import type { TenantSpec } from '#core/domain/manifest.ts';
import type { RunView } from '#core/domain/view.ts';
import { fakePack, type FakePack } from '../harness/fake-policies.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

const PACK: FakePack = { name: 'baseline', rules: [{ policy: 'no-public', level: 'mandatory', forbids: 'public' }] };

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

/** A tenant that requires a pack from the registry, with a plan that violates it. */
async function violated(approval: { mode: 'manual' | 'auto' } = { mode: 'manual' }) {
  plumbline = await startTestPlumbline();
  await plumbline.push(fakePack(PACK), '1', 'baseline');
  const spec: TenantSpec = {
    signatures: 'optional',
    policyPacks: [{ oci: `oci://${plumbline.registryHost}/infra/baseline:1` }],
  };
  await plumbline.database.db
    .updateTable('tenants')
    .set({ spec: JSON.stringify(spec) })
    .execute();
  await plumbline.stack('shop', { approval });
  await plumbline.push({ resources: { web: { access: 'public' }, db: { access: 'private' } } });
  return await plumbline.untilRun('shop', ['policy_failed']);
}

const override = (run: RunView, body: unknown, as?: string) =>
  plumbline.api<{ detail?: string; state?: string }>(
    'POST',
    `/v1/tenants/${plumbline.tenant}/stacks/shop/runs/${run.number}/override`,
    body,
    as,
  );

it('applies nothing, says why, and takes an override of exactly this plan with a reason', async () => {
  const run = await violated();
  expect(run.message).toContain('baseline/no-public on web: web is public');
  expect(plumbline.engine.log).toEqual([]);
  expect(await plumbline.condition('shop', 'Stalled')).toMatchObject({ status: 'True', reason: 'PolicyViolated' });
  const { plan } = await plumbline.run('shop', run.number);
  expect(plan?.policies).toMatchObject({
    packs: [{ name: 'baseline' }],
    violations: [{ pack: 'baseline', policy: 'no-public', level: 'mandatory', message: 'web is public' }],
  });
  const urn = plan?.policies.violations[0]?.urn;
  expect(plan?.bound['policies']).toMatchObject({ overridden: [`baseline/no-public ${urn}`] });

  // No approval, no other digest, no other role and no silence is an override.
  const approval = await plumbline.approve('shop', run);
  expect(approval).toMatchObject({ status: 409, body: { detail: expect.stringContaining('override') } });
  const wrong = { planDigest: `sha256:${'0'.repeat(64)}`, comment: 'why' };
  expect((await override(run, wrong)).status).toBe(409);
  for (const comment of [undefined, '', '   '])
    expect((await override(run, { planDigest: run.planDigest, comment })).status).toBe(422);
  const reader = await plumbline.person('reader', 'viewer');
  expect((await override(run, { planDigest: run.planDigest, comment: 'why' }, reader)).status).toBe(403);
  expect((await plumbline.run('shop', run.number)).run.state).toBe('policy_failed');

  const alice = await plumbline.person('alice');
  const taken = await override(run, { planDigest: run.planDigest, comment: 'a public site, agreed' }, alice);
  expect(taken).toMatchObject({ status: 200, body: { state: 'awaiting_approval' } });
  expect((await override(run, { planDigest: run.planDigest, comment: 'again' }, alice)).status).toBe(409);
  expect(plumbline.engine.log).toEqual([]);
  expect(await plumbline.untilEvent('shop', 'PolicyOverridden')).toMatchObject({
    actor: `${plumbline.tenant}/alice`,
    message: expect.stringContaining('a public site, agreed'),
  });

  // The override counts as no approval: the same person may still give theirs.
  expect(await plumbline.approve('shop', run, alice)).toMatchObject({ status: 200 });
  await plumbline.untilRun('shop', ['applied']);
  expect(plumbline.engine.log.toSorted()).toEqual(['create db', 'create web']);
  const { approvals } = await plumbline.run('shop', run.number);
  expect(approvals.map(({ decision, comment }) => [decision, comment])).toEqual([
    ['overridden', 'a public site, agreed'],
    ['approved', ''],
  ]);
});

it('goes on by itself after an override where no approval is needed, and never before', async () => {
  const run = await violated({ mode: 'auto' });
  expect(plumbline.engine.log).toEqual([]);
  expect((await override(run, { planDigest: run.planDigest, comment: 'agreed' })).body).toMatchObject({
    state: 'approved',
  });
  await plumbline.untilRun('shop', ['applied']);
});

it('makes way for a program that violates nothing, and is discarded on a word', async () => {
  const first = await violated();
  await plumbline.push({ resources: { web: { access: 'private' } } });
  const fine = await plumbline.untilRun('shop', ['awaiting_approval'], first.number);
  expect((await plumbline.run('shop', first.number)).run.state).toBe('superseded');
  expect((await plumbline.run('shop', fine.number)).plan?.policies.violations).toEqual([]);
  await plumbline.push({ resources: { web: { access: 'public' } } });
  const again = await plumbline.untilRun('shop', ['policy_failed'], fine.number);
  const body = { planDigest: again.planDigest, comment: 'never' };
  expect((await plumbline.post('shop', `runs/${again.number}/discard`, body)).status).toBe(200);
  expect((await override(again, body)).status).toBe(409);
  expect(plumbline.engine.log).toEqual([]);
});

it('applies what was planned when the tag of a pack moves, and plans again when another pack is required', async () => {
  const run = await violated();
  const stricter = {
    ...PACK,
    rules: [...PACK.rules, { policy: 'none', level: 'mandatory' as const, forbids: 'private' }],
  };
  await plumbline.push(fakePack(stricter), '1', 'baseline');
  expect((await override(run, { planDigest: run.planDigest, comment: 'agreed' })).status).toBe(200);
  const second = { oci: `oci://${plumbline.registryHost}/infra/second:1` };
  await plumbline.push(fakePack({ name: 'second', rules: [] }), '1', 'second');
  const first = { oci: `oci://${plumbline.registryHost}/infra/baseline:1` };
  const spec: TenantSpec = { signatures: 'optional', policyPacks: [first, second] };
  await plumbline.database.db
    .updateTable('tenants')
    .set({ spec: JSON.stringify(spec) })
    .execute();
  expect((await plumbline.approve('shop', run)).status).toBe(200);
  const next = await plumbline.untilRun('shop', ['policy_failed'], run.number);
  const stale = (await plumbline.run('shop', run.number)).run;
  expect(stale).toMatchObject({ state: 'stale', message: expect.stringContaining('infra/second:1') });
  expect(stale.message).not.toContain('infra/baseline');
  // The new plan has the pack as its tag is now.
  expect(next.message).toContain('baseline/none on db');
  expect(plumbline.engine.log).toEqual([]);
});
