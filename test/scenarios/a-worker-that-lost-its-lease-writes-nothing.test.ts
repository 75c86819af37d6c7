import { afterEach, expect, it } from 'vitest';
import { reconcile } from '../../workers/reconcile.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

/** A worker in the middle of an apply whose lease has ended meanwhile, as when it was frozen; `thaw` lets it go on to its end. */
async function frozenInApply() {
  plumbline = await startTestPlumbline({ workers: false, webhook: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  const stackId = await plumbline.stackId('shop');
  const reached = Promise.withResolvers<undefined>();
  const held = Promise.withResolvers<undefined>();
  plumbline.engine.hooks.apply = async () => {
    reached.resolve(undefined);
    await held.promise;
  };
  const frozen = reconcile(plumbline.secondWorker(), stackId);
  await reached.promise;
  plumbline.engine.hooks.apply = undefined;
  await plumbline.database.db
    .updateTable('leases')
    .set({ expires_at: new Date(Date.now() - 1000) })
    .execute();
  const thaw = async () => {
    held.resolve(undefined);
    await frozen;
  };
  return { stackId, thaw };
}

const stateOf = async () => (await plumbline.run('shop', 1)).run.state;
const diary = async () => (await plumbline.events('shop')).map(({ type }) => type);

it('its run is not taken over without proof of its death, and what it brings back later is not written down', async () => {
  const { stackId, thaw } = await frozenInApply();
  await reconcile(plumbline.secondWorker(), stackId);
  await plumbline.untilCondition('shop', 'Stalled', 'HolderUnknown');
  expect(plumbline.engine.calls.apply).toBe(1);
  const before = await diary();

  await thaw();
  expect(await diary()).toEqual(before);
  expect(await stateOf()).toBe('applying');
  expect((await plumbline.view('shop')).status.applied).toBeNull();

  await plumbline.post('shop', 'unlock', { confirmDead: true });
  await reconcile(plumbline.secondWorker(), stackId);
  expect(await stateOf()).toBe('errored');
  expect(plumbline.engine.calls.refresh).toBe(1);
  expect(plumbline.engine.log).toEqual(['create web']);
  expect(await plumbline.condition('shop', 'Stalled')).toBeUndefined();
});

it('with proof of its death another goes on at once, and the late one changes nothing of that', async () => {
  const { stackId, thaw } = await frozenInApply();
  await reconcile(plumbline.secondWorker({ proveDead: async () => true }), stackId);
  // When the stack is looked at next is no part of it: a look changes nothing, so anybody may ask for one.
  const all = async () => {
    const { status } = await plumbline.view('shop');
    return {
      diary: await diary(),
      runs: await plumbline.runs('shop'),
      status: { ...status, nextReconcileAt: null },
    };
  };
  const before = await all();
  expect(before.runs.map(({ state }) => state)).toEqual(['applied', 'errored']);
  await thaw();
  expect(await all()).toEqual(before);
});

it('frozen while it made the key of a new stack, it does not put its own in the place of the one in use', async () => {
  plumbline = await startTestPlumbline({ workers: false, webhook: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const pulumi = { stack: 'prod', secretsProvider: 'awskms://alias/one?region=eu-central-1' };
  await plumbline.stack('shop', { approval: { mode: 'auto' }, pulumi });
  const stackId = await plumbline.stackId('shop');
  const keyNow = async () =>
    (await plumbline.database.db.selectFrom('stacks').select('secrets_provider').executeTakeFirstOrThrow())
      .secrets_provider.encryptedKey;
  const { engine } = plumbline;
  const late = {
    ...engine,
    encryptConfig: async () => {
      await plumbline.database.db
        .updateTable('leases')
        .set({ expires_at: new Date(Date.now() - 1000) })
        .execute();
      await reconcile(plumbline.deps, stackId);
      return { encryptedKey: 'of-the-late-one', ciphertexts: {} };
    },
  };
  await reconcile(plumbline.secondWorker({ engine: late }), stackId);
  expect((await plumbline.runs('shop')).map(({ state }) => state)).toEqual(['applied', 'errored']);
  expect(await keyNow()).toContain('key-of-awskms');
});

it('a person cannot declare a worker dead that still renews its lease', async () => {
  plumbline = await startTestPlumbline({ workers: false, webhook: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  const reached = Promise.withResolvers<undefined>();
  const held = Promise.withResolvers<undefined>();
  plumbline.engine.hooks.apply = async () => {
    reached.resolve(undefined);
    await held.promise;
  };
  const alive = reconcile(plumbline.deps, await plumbline.stackId('shop'));
  await reached.promise;
  const refused = await plumbline.post('shop', 'unlock', { confirmDead: true });
  expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringContaining('it is not dead') } });
  held.resolve(undefined);
  await alive;
  expect(await stateOf()).toBe('applied');
});
