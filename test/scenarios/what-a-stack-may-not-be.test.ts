import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

async function refused(reason: string, at = 'shop') {
  const condition = await plumbline.untilCondition(at, 'Stalled', reason);
  expect(plumbline.engine.calls.apply).toBe(0);
  return condition.message;
}

it('a secret that is gone stalls the stack and is named', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.secret('db', { password: 'a-password' });
  await plumbline.stack('shop', {
    pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } },
  });
  await plumbline.database.db.deleteFrom('secrets').where('name', '=', 'db').execute();
  await plumbline.push({ resources: { web: { size: 1 } } });
  expect(await refused('SecretNotFound')).toContain('secret db');
});

it('a folder that leaves the artifact is refused, also where a spec was written by other means', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  const { spec } = await plumbline.view('shop');
  const outside = JSON.stringify({ ...spec, source: { ...spec.source, path: '../other' } });
  await plumbline.database.db.updateTable('stacks').set({ spec: outside }).execute();
  await plumbline.push({ resources: { web: { size: 1 } } });
  expect(await refused('SpecInvalid')).toContain('leaves the artifact');
});

it('a folder the artifact does not have is named', async () => {
  plumbline = await startTestPlumbline();
  const source = { repository: `oci://${plumbline.registryHost}/infra/shop`, ref: { tag: 'prod' }, path: 'nowhere' };
  await plumbline.stack('shop', { source });
  await plumbline.push({ resources: { web: { size: 1 } } });
  expect(await refused('SpecInvalid')).toContain('nowhere');
});

it('an artifact that is no Pulumi program is refused', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  await plumbline.push({
    'Pulumi.yaml': 'name: shop\nruntime: nodejs\nbackend: {url: "s3://elsewhere"}\n',
    'program.json': '{"resources":{}}',
  });
  expect(await refused('ProgramInvalid')).toContain('backend');
});

async function applied() {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.push({ resources: { web: { size: 1 }, db: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied']);
}

it('after the first apply the identity of the state is frozen', async () => {
  await applied();
  await plumbline.stack('shop', { approval: { mode: 'auto' }, pulumi: { stack: 'staging' } });
  const { message } = await plumbline.untilCondition('shop', 'Stalled', 'IdentityChanged');
  expect(message).toContain('stack was prod and is now staging');
  expect(plumbline.engine.calls.apply).toBe(1);

  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.untilCondition('shop', 'Ready', 'UpToDate');
});

it('two stacks never share a state', async () => {
  await applied();
  const source = { repository: `oci://${plumbline.registryHost}/infra/shop`, ref: { tag: 'prod' } };
  await plumbline.stack('thief', { source, approval: { mode: 'auto' } });
  const { message } = await plumbline.untilCondition('thief', 'Stalled', 'IdentityChanged');
  expect(message).toContain('belongs to another Stack');
  expect(plumbline.engine.calls.apply).toBe(1);
});

it('a state that lost resources stalls until it is restored', async () => {
  await applied();
  const { state } = plumbline.engine.only();
  const lost = state['db'];
  delete state['db'];
  await plumbline.push({ resources: { web: { size: 2 }, db: { size: 1 } } });
  const { message } = await plumbline.untilCondition('shop', 'Stalled', 'StateRegressed');
  expect(message).toContain('holds 1 resources, 2 after the last run');
  expect(plumbline.engine.calls.apply).toBe(1);

  state['db'] = lost ?? {};
  await plumbline.post('shop', 'reconcile');
  await plumbline.untilRun('shop', ['applied'], 2);
});

it('a state that something else changed is planned, but a person looks first, in every mode', async () => {
  await applied();
  plumbline.engine.only().state['extra'] = { size: 1 };
  await plumbline.push({ resources: { web: { size: 2 }, db: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], 1);
  expect(waiting.needs).toContain('the state was changed by something other than Plumbline since the last run');
});
