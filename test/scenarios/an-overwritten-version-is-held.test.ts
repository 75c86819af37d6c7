import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

async function atFirst(change: { onTagMoved?: 'hold' | 'apply'; immutableTags?: 'none' } = {}) {
  plumbline = await startTestPlumbline();
  const source = {
    repository: `oci://${plumbline.registryHost}/infra/shop`,
    ref: { semver: '^1' },
    interval: '1h',
    ...change,
  };
  const first = await plumbline.push({ resources: { web: { size: 1 } } }, '1.0.0');
  await plumbline.stack('shop', { source, approval: { mode: 'auto' } });
  await plumbline.untilRun('shop', ['applied']);
  return { first, source };
}

const told = async (type: string) => (await plumbline.events('shop')).filter((event) => event.type === type);

it('a version that was pushed over is not taken, said once, and a newer version goes on', async () => {
  const { first } = await atFirst();
  const second = await plumbline.push({ resources: { web: { size: 666 } } }, '1.0.0');
  const stalled = await plumbline.untilCondition('shop', 'Stalled', 'ImmutableTagMoved');
  expect(stalled.message).toContain(`from ${first} to ${second}`);
  for (const _ of [1, 2]) {
    await plumbline.post('shop', 'reconcile');
    await plumbline.until('the request to be handled', async () =>
      (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
    );
  }
  expect(await told('ImmutableTagMoved')).toMatchObject([{ severity: 'error', data: { tag: '1.0.0', to: second } }]);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 1 } });

  await plumbline.push({ resources: { web: { size: 2 } } }, '1.0.1');
  await plumbline.untilRun('shop', ['applied'], 1);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 2 } });
  expect(await plumbline.condition('shop', 'Stalled')).toBeUndefined();
});

it('stays in sight when a run of what is taken has ended well', async () => {
  const { source } = await atFirst();
  await plumbline.push({ resources: { web: { size: 666 } } }, '1.0.0');
  await plumbline.untilCondition('shop', 'Stalled', 'ImmutableTagMoved');
  await plumbline.stack('shop', { source, approval: { mode: 'auto' }, pulumi: { stack: 'prod', config: { a: 1 } } });
  await plumbline.untilRun('shop', ['applied', 'planned'], 1);
  await plumbline.untilCondition('shop', 'Stalled', 'ImmutableTagMoved');
  expect(await told('ImmutableTagMoved')).toHaveLength(1);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 1 } });
});

it('a version that is put back as it was is fine again', async () => {
  const { first } = await atFirst();
  await plumbline.push({ resources: { web: { size: 666 } } }, '1.0.0');
  await plumbline.untilCondition('shop', 'Stalled', 'ImmutableTagMoved');
  await plumbline.moveTag(first, '1.0.0');
  await plumbline.untilCondition('shop', 'Ready', 'Applied');
  expect(await plumbline.condition('shop', 'Stalled')).toBeUndefined();
});

it('is taken where the stack says so, and the event is raised all the same', async () => {
  await atFirst({ onTagMoved: 'apply' });
  await plumbline.push({ resources: { web: { size: 3 } } }, '1.0.0');
  await plumbline.untilRun('shop', ['applied'], 1);
  expect(await told('ImmutableTagMoved')).toHaveLength(1);
});

it('is taken once a person accepts it', async () => {
  const { source } = await atFirst();
  await plumbline.push({ resources: { web: { size: 4 } } }, '1.0.0');
  await plumbline.untilCondition('shop', 'Stalled', 'ImmutableTagMoved');
  await plumbline.stack('shop', { source: { ...source, onTagMoved: 'apply' }, approval: { mode: 'auto' } });
  await plumbline.untilRun('shop', ['applied'], 1);
  expect(plumbline.engine.only().world).toEqual({ web: { size: 4 } });
});

it('is an ordinary move where no tag is promised to stay', async () => {
  await atFirst({ immutableTags: 'none' });
  await plumbline.push({ resources: { web: { size: 5 } } }, '1.0.0');
  await plumbline.untilRun('shop', ['applied'], 1);
  expect(await told('ImmutableTagMoved')).toHaveLength(0);
  expect(await told('TagMoved')).toHaveLength(1);
});

it.each([
  ['a digest', (digest: string) => ({ digest })],
  ['another tag', () => ({ tag: 'stable' })],
])('a version is known again after the stack named %s for a while', async (_, pin) => {
  const { first, source } = await atFirst();
  const name = async (ref: object) =>
    await plumbline.stack('shop', { source: { ...source, ref }, approval: { mode: 'auto' } });
  await plumbline.moveTag(first, 'stable');
  await name(pin(first));
  await plumbline.until('the other name to be resolved', async () =>
    (await plumbline.view('shop')).status.resolved?.revision.startsWith('1.0.0@') === false ? true : undefined,
  );
  await plumbline.push({ resources: { web: { size: 666 } } }, '1.0.0');
  await name({ tag: '1.0.0' });
  const moved = await plumbline.untilEvent('shop', 'ImmutableTagMoved');
  expect(moved.message).toContain(`from ${first}`);
  expect((await plumbline.view('shop')).status.resolved?.digest).toBe(first);
});
