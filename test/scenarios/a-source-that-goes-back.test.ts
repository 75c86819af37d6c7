import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

async function atSecond(onBackward: 'hold' | 'apply') {
  plumbline = await startTestPlumbline();
  const source = {
    repository: `oci://${plumbline.registryHost}/infra/shop`,
    ref: { tag: 'prod' },
    interval: '1h',
    onBackward,
  };
  await plumbline.stack('shop', { source, approval: { mode: 'auto' } });
  const first = await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied']);
  const second = await plumbline.push({ resources: { web: { size: 2 }, db: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied'], 1);
  return { first, second };
}

it('is held, said once, and forgotten when it comes forward again', async () => {
  const { first, second } = await atSecond('hold');
  await plumbline.moveTag(first, 'prod');
  await plumbline.untilCondition('shop', 'Stalled', 'RevisionWentBack');
  for (const _ of [1, 2]) {
    await plumbline.post('shop', 'reconcile');
    await plumbline.until('the request to be handled', async () =>
      (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
    );
  }
  expect((await plumbline.events('shop')).filter((event) => event.type === 'RevisionWentBack')).toHaveLength(1);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 2 }, db: { size: 1 } });

  const moved = (await plumbline.events('shop'))
    .filter((event) => event.type === 'TagMoved')
    .map((event) => event.data);
  expect(moved).toContainEqual({ tag: 'prod', from: second, to: first });

  await plumbline.moveTag(second, 'prod');
  await plumbline.untilCondition('shop', 'Ready', 'UpToDate');
  expect(await plumbline.condition('shop', 'Stalled')).toBeUndefined();
  expect(plumbline.engine.calls.apply).toBe(2);
});

it('with onBackward: apply is a planned rollback, and what it takes away needs a person even in mode auto', async () => {
  const { first } = await atSecond('apply');
  await plumbline.moveTag(first, 'prod');
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], 2);
  expect(waiting).toMatchObject({
    operation: 'rollback',
    trigger: 'backward',
    digest: first,
    needs: ['delete of db (fake:index:Thing)', 'nobody signed what is applied'],
  });
  await plumbline.applied('shop');
  expect(plumbline.engine.only().world).toEqual({ web: { size: 1 } });
  await plumbline.untilEvent('shop', 'RolledBack');
  expect(await plumbline.condition('shop', 'Ready')).toMatchObject({ status: 'True' });
});
