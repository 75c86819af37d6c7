import { afterEach, beforeEach, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { canonicalJson } from '#core/domain/plan.ts';
import type { RunView } from '#core/domain/view.ts';
import { checkDrift } from '../../workers/drift.ts';
import { reconcile } from '../../workers/reconcile.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
let stackId: string;
const look = () => reconcile(plumbline.deps, stackId);
const auto = { approval: { mode: 'auto' } } as const;

async function newest(): Promise<RunView> {
  const run = (await plumbline.runs('shop')).find((candidate) => candidate.operation !== 'drift');
  if (run === undefined) throw new Error('no run');
  return run;
}

async function approveAndLook(): Promise<RunView> {
  expect((await plumbline.approve('shop', await newest())).status).toBe(200);
  await look();
  return await newest();
}

async function lookAgain(): Promise<RunView> {
  expect((await plumbline.post('shop', 'reconcile')).status).toBe(202);
  await look();
  return await newest();
}

const calls = () => ({ ...plumbline.engine.calls });
const stalled = () => plumbline.condition('shop', 'Stalled');

/** The address the stack's state has, as the fake engine keys it. */
function keyOf(stack: string): string {
  const backend = `file://${plumbline.deps.config.dataDir}/state/${plumbline.tenant}`;
  return canonicalJson({ backend, organization: 'organization', project: 'shop', stack });
}

beforeEach(async () => {
  plumbline = await startTestPlumbline({ workers: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
});
afterEach(() => plumbline.close());

async function applied(): Promise<void> {
  await plumbline.stack('shop', auto);
  stackId = await plumbline.stackId('shop');
  await look();
  expect((await newest()).state).toBe('applied');
}

it('a state that was there before is adopted only after a person has seen how much it holds', async () => {
  plumbline.engine.state.set(keyOf('prod'), { old: { size: 1 }, web: { size: 1 } });
  await plumbline.stack('shop', auto);
  stackId = await plumbline.stackId('shop');
  await look();
  expect(await newest()).toMatchObject({
    state: 'awaiting_approval',
    needs: expect.arrayContaining(['adopts a state of 2 resources']),
  });
  expect((await approveAndLook()).state).toBe('applied');
});

it('a state that brings its own code and that nobody answers for runs nothing at all', async () => {
  await applied();
  plumbline.engine.only().state['trojan'] = { size: 1 };
  plumbline.engine.dynamic.add('trojan');
  const before = calls();
  expect(await lookAgain()).toMatchObject({ state: 'errored', reason: 'StateMovedOutside' });
  await plumbline.post('shop', 'drift/check');
  await checkDrift(plumbline.deps, stackId);
  expect(calls()).toEqual(before);

  const message = (await stalled())?.message ?? '';
  const checkpoint = /--checkpoint (sha256:[0-9a-f]{64})/.exec(message)?.[1];
  // The word is for exactly this state: another one is another question.
  await plumbline.post('shop', 'accept-state', { checkpoint: `sha256:${'0'.repeat(64)}` });
  await look();
  expect(calls()).toEqual(before);
  expect((await plumbline.post('shop', 'accept-state', { checkpoint: 'whatever' })).status).toBe(422);
  expect((await plumbline.post('shop', 'accept-state', { checkpoint })).status).toBe(202);
  await look();
  const waiting = await newest();
  expect(waiting).toMatchObject({ state: 'awaiting_approval', summary: { delete: 1 } });
  expect(waiting.needs.join()).toContain('a person accepted that');
  expect((await plumbline.untilEvent('shop', 'StateAccepted')).actor).not.toBe('plumbline');
  expect((await approveAndLook()).state).toBe('applied');
});

it('a refresh of ours that was cut off leaves no foreign state', async () => {
  await applied();
  plumbline.engine.dynamic.add('web');
  plumbline.engine.only().world['web'] = { size: 3 };
  await plumbline.database.db.updateTable('stacks').set({ refresh_needed: true }).execute();
  const { engine } = plumbline.deps;
  const refresh = engine.refresh.bind(engine);
  plumbline.deps.engine = {
    ...engine,
    refresh: async (request, answers) => {
      await refresh(request, answers);
      // A worker that is dead writes nothing down any more.
      throw transient('LeaseLost', 'killed before its result was written down');
    },
  };
  await lookAgain();
  plumbline.deps.engine = engine;
  expect(await lookAgain()).toMatchObject({ state: 'awaiting_approval' });
});

it('a refresh that failed answers for what it wrote, and for nothing that is written later', async () => {
  await applied();
  await plumbline.database.db.updateTable('stacks').set({ refresh_needed: true }).execute();
  const { engine } = plumbline.deps;
  plumbline.deps.engine = {
    ...engine,
    refresh: async () => {
      throw transient('RefreshFailed', 'a provider does not answer');
    },
  };
  expect(await lookAgain()).toMatchObject({ state: 'errored', reason: 'RefreshFailed' });
  plumbline.deps.engine = engine;
  plumbline.engine.only().state['trojan'] = { size: 1 };
  plumbline.engine.dynamic.add('trojan');
  const before = calls();
  expect(await lookAgain()).toMatchObject({ state: 'errored', reason: 'StateMovedOutside' });
  expect(calls()).toEqual(before);
});

it('a state that something else wrote stays a question when the plan after its refresh fails', async () => {
  await applied();
  plumbline.engine.only().state['web'] = { size: 7 };
  plumbline.engine.only().world['web'] = { size: 8 };
  await plumbline.database.db.updateTable('stacks').set({ refresh_needed: true }).execute();
  plumbline.engine.hooks.preview = async () => {
    throw transient('PreviewFailed', 'the network is away');
  };
  expect(await lookAgain()).toMatchObject({ state: 'errored', reason: 'PreviewFailed' });
  plumbline.engine.hooks.preview = undefined;
  const waiting = await lookAgain();
  expect(waiting).toMatchObject({ state: 'awaiting_approval' });
  expect(waiting.needs.join()).toContain('changed by something other than Plumbline');
});

it('a state that is written while it is planned is planned again, and asks a person', async () => {
  await applied();
  await plumbline.push({ resources: { web: { size: 2 } } });
  plumbline.engine.hooks.preview = async () => {
    plumbline.engine.hooks.preview = undefined;
    plumbline.engine.only().state['web'] = { size: 5 };
  };
  expect(await lookAgain()).toMatchObject({ state: 'errored', reason: 'PlanStale' });
  const waiting = await lookAgain();
  expect(waiting).toMatchObject({ state: 'awaiting_approval' });
  expect(waiting.needs.join()).toContain('changed by something other than Plumbline');
});

it('a state that vanishes under an apply is not taken for ours: nothing is made a second time', async () => {
  await applied();
  await plumbline.push({ resources: { web: { size: 2 } } });
  plumbline.engine.hooks.apply = async () => {
    plumbline.engine.hooks.apply = undefined;
    plumbline.engine.state.delete(keyOf('prod'));
    throw transient('ApplyFailed', 'the state was not saved');
  };
  expect(await lookAgain()).toMatchObject({ state: 'errored', reason: 'ApplyFailed' });
  expect(await lookAgain()).toMatchObject({ state: 'errored', reason: 'StateRegressed' });
  expect(plumbline.engine.log).toEqual(['create web']);
});

it('a state moves to another address by the word of one person and the approval of a plan that names both', async () => {
  await applied();
  expect((await plumbline.post('shop', 'rebind')).status).toBe(409);
  await plumbline.stack('shop', { ...auto, pulumi: { stack: 'blue' } });
  await look();
  expect(await stalled()).toMatchObject({ reason: 'IdentityChanged' });
  const operator = await plumbline.person('op', 'operator');
  const path = `/v1/tenants/${plumbline.tenant}/stacks/shop/rebind`;
  expect((await plumbline.api('POST', path, undefined, operator)).status).toBe(403);
  expect((await plumbline.post('shop', 'rebind')).status).toBe(202);
  await look();
  const waiting = await newest();
  expect(waiting.state).toBe('awaiting_approval');
  expect(waiting.needs.join()).toMatch(/stack was prod and is now blue.*there is no state there/);
  expect((await plumbline.view('shop')).status.identity).toMatchObject({ stack: 'prod' });
  expect((await approveAndLook()).state).toBe('applied');
  expect((await plumbline.view('shop')).status.identity).toMatchObject({ stack: 'blue' });
  // The word is used up: the next move is another question.
  await plumbline.stack('shop', { ...auto, pulumi: { stack: 'green' } });
  await look();
  expect(await stalled()).toMatchObject({ reason: 'IdentityChanged' });
});

it('an approval outlives the service and the worker', async () => {
  await plumbline.stack('shop');
  stackId = await plumbline.stackId('shop');
  await look();
  expect((await plumbline.approve('shop', await newest())).status).toBe(200);
  // Another process: nothing but the database and the key file is the same.
  await reconcile(plumbline.secondWorker(), stackId);
  expect(await newest()).toMatchObject({ state: 'applied' });
});
