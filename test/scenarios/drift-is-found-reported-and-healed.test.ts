import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

async function applied(
  drift: { interval?: string; action?: 'report' | 'heal' } = { interval: '1h' },
  mode: 'auto' | 'manual' = 'auto',
) {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode }, drift });
  const digest = await plumbline.push({ resources: { web: { size: 1 }, db: { size: 2 } } });
  await (mode === 'auto' ? plumbline.untilRun('shop', ['applied']) : plumbline.applied('shop'));
  // The first check follows the first apply at once.
  await plumbline.untilCondition('shop', 'Drifted', 'NotDrifted');
  return digest;
}

it('a scheduled check reports property, old and new value, and remembers since when', async () => {
  await applied({ interval: '1s' });
  plumbline.engine.only().world['web'] = { size: 9 };
  const [first] = await plumbline.until('the drift', async () =>
    (await plumbline.drift('shop')).length > 0 ? plumbline.drift('shop') : undefined,
  );
  expect(first).toMatchObject({ path: 'size', kind: 'changed', before: 1, after: 9 });
  expect(await plumbline.condition('shop', 'Drifted')).toMatchObject({ status: 'True', reason: 'Drifted' });
  const [later] = await plumbline.until('another check', async () => {
    const items = await plumbline.drift('shop');
    return items[0]?.lastSeenAt === first?.lastSeenAt ? undefined : items;
  });
  expect(later?.firstSeenAt).toBe(first?.firstSeenAt);
  expect((await plumbline.events('shop')).filter((event) => event.type === 'DriftDetected')).toHaveLength(1);
  expect(plumbline.engine.log).toEqual(['create db', 'create web']);
});

it('a missing resource is reported and never healed', async () => {
  await applied({ interval: '1h', action: 'heal' });
  delete plumbline.engine.only().world['db'];
  await plumbline.driftCheck('shop');
  expect(await plumbline.drift('shop')).toMatchObject([{ kind: 'missing', path: '' }]);
  await plumbline.post('shop', 'drift/heal');
  await plumbline.untilEvent('shop', 'HealDropped');
  expect(plumbline.engine.only().state).toHaveProperty('db');
  expect(plumbline.engine.log).toEqual(['create db', 'create web']);
});

it('heal repairs exactly what was reported', async () => {
  await applied();
  plumbline.engine.only().world['web'] = { size: 9 };
  await plumbline.driftCheck('shop');
  plumbline.engine.only().world['db'] = { size: 8 };
  await plumbline.post('shop', 'drift/heal');
  await plumbline.untilEvent('shop', 'DriftHealed');
  expect(plumbline.engine.log).toEqual(['create db', 'create web', 'update web']);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 1 }, db: { size: 8 } });
  const healing = (await plumbline.runs('shop')).find((run) => run.trigger === 'heal');
  expect(healing?.targets).toEqual([expect.stringContaining('::web')]);
});

it('drift.action: heal repairs by itself, under the approval mode of the stack', async () => {
  await applied({ interval: '1h', action: 'heal' }, 'manual');
  plumbline.engine.only().world['web'] = { size: 9 };
  await plumbline.driftCheck('shop');
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], 1);
  expect(waiting).toMatchObject({ trigger: 'heal', requestedBy: 'drift.action: heal' });
  expect(plumbline.engine.only().world['web']).toEqual({ size: 9 });
  await plumbline.approve('shop', waiting);
  await plumbline.untilCondition('shop', 'Drifted', 'NotDrifted');
  expect(plumbline.engine.only().world['web']).toEqual({ size: 1 });
});

it('heal runs the last applied revision; a newer one that waits stays untouched and is planned again', async () => {
  const digest = await applied({ interval: '1h' }, 'manual');
  const newer = await plumbline.push({ resources: { web: { size: 1 }, db: { size: 2 }, cache: { size: 3 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], 1);
  plumbline.engine.only().world['web'] = { size: 9 };
  await plumbline.driftCheck('shop');
  await plumbline.post('shop', 'drift/heal');
  const heal = await plumbline.until('the plan of the heal', async () =>
    (await plumbline.runs('shop')).find((run) => run.trigger === 'heal' && run.state === 'awaiting_approval'),
  );
  expect(heal).toMatchObject({ digest, targets: [expect.stringContaining('::web')] });
  expect((await plumbline.approve('shop', waiting)).status).toBe(409);
  await plumbline.approve('shop', heal);
  const again = await plumbline.untilRun('shop', ['awaiting_approval'], heal.number);
  expect(again.digest).toBe(newer);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 1 }, db: { size: 2 } });
});

it('a heal says nothing about a newer plan that a person discarded', async () => {
  await applied({ interval: '1h' }, 'manual');
  await plumbline.push({ resources: { web: { size: 5 }, db: { size: 2 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], 1);
  await plumbline.post('shop', `runs/${waiting.number}/discard`, { planDigest: waiting.planDigest });
  await plumbline.untilCondition('shop', 'Stalled', 'PlanDiscarded');
  plumbline.engine.only().world['web'] = { size: 9 };
  await plumbline.driftCheck('shop');
  await plumbline.post('shop', 'drift/heal');
  await plumbline.approve('shop', await plumbline.untilRun('shop', ['awaiting_approval'], waiting.number));
  await plumbline.untilEvent('shop', 'DriftHealed');
  expect(await plumbline.condition('shop', 'Ready')).toMatchObject({ status: 'False', reason: 'PlanDiscarded' });
  expect(plumbline.engine.only().world['web']).toEqual({ size: 1 });
});

it('a result is thrown away when the state moved during the check', async () => {
  await applied();
  plumbline.engine.only().world['web'] = { size: 9 };
  plumbline.engine.hooks.drift = async () => void (plumbline.engine.only().state['db'] = { size: 7 });
  expect(await plumbline.driftCheck('shop')).toMatchObject({ state: 'errored', reason: 'DriftDiscarded' });
  expect(await plumbline.drift('shop')).toEqual([]);
});

it('a check waits while a run applies', async () => {
  await applied();
  const before = plumbline.engine.calls.drift;
  const { promise, resolve } = Promise.withResolvers<void>();
  plumbline.engine.hooks.apply = () => promise;
  await plumbline.push({ resources: { web: { size: 3 } } });
  try {
    await plumbline.untilRun('shop', ['applying'], 1);
    await plumbline.post('shop', 'drift/check');
    await plumbline.until('the check to be put off', async () => {
      const { nextDriftAt, driftRequested } = (await plumbline.view('shop')).status;
      const ahead = new Date(nextDriftAt ?? 0).getTime() - Date.now();
      return driftRequested && ahead > 0 && ahead <= 5000 ? true : undefined;
    });
    expect(plumbline.engine.calls.drift).toBe(before);
  } finally {
    resolve();
  }
  await plumbline.untilRun('shop', ['applied'], 1);
  await plumbline.until('the check', async () => (plumbline.engine.calls.drift > before ? true : undefined));
});

it('after three heals of the same property it stops and says once that something fights it', async () => {
  await applied({ interval: '1h', action: 'heal' });
  for (const size of [11, 12, 13]) {
    plumbline.engine.only().world['web'] = { size };
    await plumbline.driftCheck('shop');
    await plumbline.until('the heal', async () =>
      plumbline.engine.only().world['web']?.['size'] === 1 ? true : undefined,
    );
    await plumbline.untilCondition('shop', 'Drifted', 'NotDrifted');
  }
  plumbline.engine.only().world['web'] = { size: 14 };
  await plumbline.driftCheck('shop');
  expect(await plumbline.untilCondition('shop', 'Drifted', 'HealLoop')).toMatchObject({
    message: expect.stringMatching(/^web\.size was healed 3 times .* sets it to 11, 12, 13, 14, each heal to 1 /),
  });
  await plumbline.driftCheck('shop');
  await plumbline.untilCondition('shop', 'Drifted', 'HealLoop');
  expect((await plumbline.events('shop')).filter((event) => event.type === 'HealLoop')).toHaveLength(1);
  expect(plumbline.engine.only().world['web']).toEqual({ size: 14 });
});

it('when much is missing the credentials are suspected, and nothing is believed', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' }, drift: { interval: '1h', action: 'heal' } });
  await plumbline.push({ resources: { a: { size: 1 }, b: { size: 1 }, c: { size: 1 }, d: { size: 1 } } });
  await plumbline.untilCondition('shop', 'Drifted', 'NotDrifted');
  const { world } = plumbline.engine.only();
  for (const name of ['a', 'b', 'c']) delete world[name];
  world['d'] = { size: 2 };
  expect(await plumbline.driftCheck('shop')).toMatchObject({ state: 'errored', reason: 'CredentialsSuspect' });
  expect(await plumbline.condition('shop', 'Drifted')).toMatchObject({
    status: 'Unknown',
    reason: 'CredentialsSuspect',
  });
  expect(await plumbline.drift('shop')).toEqual([]);
  expect(world['d']).toEqual({ size: 2 });
});
