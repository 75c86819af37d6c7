import { afterEach, expect, it } from 'vitest';
import type { StackSpec } from '#core/domain/manifest.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

type Drift = NonNullable<StackSpec['drift']>;

const inMs = (ms: number) => new Date(Date.now() + ms).toISOString();

async function applied(drift: Drift, change: Partial<StackSpec> = {}): Promise<TestPlumbline['engine']> {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' }, drift: { interval: '1h', ...drift }, ...change });
  await plumbline.push({ resources: { web: { size: 1, seen: 'monday' }, db: { size: 2 } } });
  await plumbline.untilRun('shop', ['applied']);
  await plumbline.untilCondition('shop', 'Drifted', 'NotDrifted');
  return plumbline.engine;
}

async function heals() {
  return (await plumbline.runs('shop')).filter((run) => run.trigger === 'heal');
}

it('what is ignored is shown with its reason, is not drift and is not healed, and counts again when the rule runs out', async () => {
  const expires = inMs(60 * 60_000);
  const ignore = [{ urn: 'web', path: 'seen', reason: 'a scanner writes it', expires }];
  const engine = await applied({ action: 'heal', ignore });
  engine.only().world['web'] = { size: 1, seen: 'tuesday' };
  await plumbline.driftCheck('shop');
  expect(await plumbline.drift('shop')).toMatchObject([
    { path: 'seen', kind: 'changed', ignoredUntil: expires, ignoredReason: 'a scanner writes it' },
  ]);
  expect(await plumbline.condition('shop', 'Drifted')).toMatchObject({
    status: 'False',
    message: `the live world agrees with the last applied state; 1 ignored until ${expires}`,
  });
  await plumbline.post('shop', 'drift/heal');
  await plumbline.untilEvent('shop', 'HealDropped');
  expect(await heals()).toEqual([]);
  // As if the hour had passed.
  await plumbline.database.db
    .updateTable('stacks')
    .set((eb) => ({
      spec: eb.fn('jsonb_set', ['spec', eb.val('{drift,ignore,0,expires}'), eb.val(JSON.stringify(inMs(-1_000)))]),
    }))
    .execute();
  await plumbline.driftCheck('shop');
  await plumbline.untilEvent('shop', 'DriftHealed');
  expect(engine.only().world['web']).toEqual({ size: 1, seen: 'monday' });
});

it('a rule that names nothing, lasts for years or ends at no time is refused', async () => {
  plumbline = await startTestPlumbline({ workers: false });
  const rules: Partial<NonNullable<Drift['ignore']>[number]>[] = [
    { expires: inMs(60_000) },
    { path: 'seen', expires: inMs(2 * 366 * 86_400_000) },
    { path: 'seen', expires: 'some day' },
  ];
  for (const rule of rules) {
    const ignore = [{ reason: 'because', expires: '', ...rule }];
    await expect(plumbline.stack('shop', { drift: { ignore } })).rejects.toThrow(/drift\/ignore\/0/);
  }
});

it('action plan waits for a person in every mode, and asks again only when something new has drifted', async () => {
  const engine = await applied({ action: 'plan' });
  engine.only().world['web'] = { size: 9, seen: 'monday' };
  await plumbline.driftCheck('shop');
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], 1);
  expect(waiting).toMatchObject({ trigger: 'heal', requestedBy: 'drift.action: plan' });
  expect(waiting.needs).toContain('drift.action is plan: what is set back is approved by a person');
  await plumbline.driftCheck('shop');
  await plumbline.post('shop', `runs/${waiting.number}/discard`, { planDigest: waiting.planDigest });
  await plumbline.untilRun('shop', ['discarded'], 1);
  // The refresh before the plan has put the live value into the state: it is the same drift all the same.
  await plumbline.driftCheck('shop');
  expect(await plumbline.drift('shop')).toMatchObject([{ path: 'size', kind: 'changed', before: 1, after: 9 }]);
  expect(await heals()).toHaveLength(1);
  engine.only().world['db'] = { size: 7 };
  await plumbline.driftCheck('shop');
  const again = await plumbline.untilRun('shop', ['awaiting_approval'], waiting.number);
  expect(again.targets).toHaveLength(2);
  await plumbline.approve('shop', again);
  await plumbline.untilEvent('shop', 'DriftHealed');
  expect(engine.only().world).toEqual({ web: { size: 1, seen: 'monday' }, db: { size: 2 } });
});

it('a state that something else wrote is drift of its own, and nothing is healed by itself', async () => {
  const engine = await applied({ action: 'heal' });
  const { state, world } = engine.only();
  state['db'] = { size: 5 };
  world['db'] = { size: 5 };
  world['web'] = { size: 9, seen: 'monday' };
  await plumbline.driftCheck('shop');
  const items = await plumbline.drift('shop');
  expect(items.find((item) => item.kind === 'state-moved')).toMatchObject({
    type: 'pulumi:pulumi:Stack',
    path: '',
    before: { resources: 2 },
    after: { resources: 2, by: 'unknown', since: 'unknown' },
  });
  expect(items.some((item) => item.path === 'size' && item.urn.endsWith('::web'))).toBe(true);
  expect((await plumbline.condition('shop', 'Drifted'))?.message).toContain('the state (written by something else)');
  expect(await heals()).toEqual([]);
});

it('credentials of another account or region than was applied to are suspected, and nothing is compared', async () => {
  const engine = await applied({}, { credentials: undefined });
  await plumbline.secret('look', { AWS_REGION: 'us-east-1' });
  await plumbline.database.db
    .updateTable('stacks')
    .set({ applied_principal: 'aws 123456789012 arn:aws:iam::123456789012:role/deploy eu-central-1' })
    .execute();
  const before = engine.calls.drift;
  plumbline.deps.runClouds = {
    ...plumbline.deps.runClouds,
    principal: async () => 'aws 999999999999 arn:aws:iam::999999999999:role/look eu-central-1',
  };
  await plumbline.database.db
    .updateTable('runs')
    .set((eb) => ({ spec: eb.fn('jsonb_set', ['spec', eb.val('{credentials}'), eb.val('{"plan":"look"}')]) }))
    .execute();
  expect(await plumbline.driftCheck('shop')).toMatchObject({ state: 'errored', reason: 'CredentialsSuspect' });
  expect((await plumbline.condition('shop', 'Drifted'))?.message).toMatch(
    /of aws 999999999999; applied was to aws 123/,
  );
  expect(engine.calls.drift).toBe(before);
});

it('a missing resource leaves the state by the word of a person who may recover, and by nothing else', async () => {
  const engine = await applied({ action: 'heal' }, { approval: { mode: 'auto' } });
  delete engine.only().world['db'];
  await plumbline.driftCheck('shop');
  const [item] = await plumbline.drift('shop');
  expect(item).toMatchObject({ kind: 'missing' });
  const path = `/v1/tenants/${plumbline.tenant}/stacks/shop/drift/accept`;
  const operator = await plumbline.person('otto', 'operator');
  expect((await plumbline.api('POST', path, { urn: item?.urn }, operator)).status).toBe(403);
  expect((await plumbline.api('POST', path, { urn: item?.urn?.replace('::db', '::web') })).status).toBe(409);
  expect(engine.only().state).toHaveProperty('db');
  const ann = await plumbline.person('ann', 'approver');
  expect((await plumbline.api('POST', path, { urn: item?.urn }, ann)).status).toBe(202);
  expect(await plumbline.untilEvent('shop', 'MissingLeftState')).toMatchObject({
    actor: `${plumbline.tenant}/ann`,
    message: expect.stringContaining('1 missing resources left the state'),
  });
  // The program still declares it.
  await plumbline.untilRun('shop', ['applied'], 1);
  expect(engine.log).toEqual(['create db', 'create web', 'create db']);
});
