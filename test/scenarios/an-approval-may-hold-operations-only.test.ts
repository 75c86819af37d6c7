import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RunView } from '#core/domain/view.ts';
import type { PreviewResult } from '#core/engine/port.ts';
import { reconcile } from '../../workers/reconcile.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
let stackId: string;
const look = () => reconcile(plumbline.deps, stackId);
const operations = { approval: { mode: 'manual', binding: 'operations' } } as const;

async function newest(): Promise<RunView> {
  const [run] = await plumbline.runs('shop');
  if (run === undefined) throw new Error('no run');
  return run;
}

async function allow(bindings: string[]): Promise<void> {
  const spec = JSON.stringify({ signatures: 'optional', bindings });
  await plumbline.database.db.updateTable('tenants').set({ spec }).where('name', '=', plumbline.tenant).execute();
}

/** From now on every preview says this of itself: a program whose values differ each time. */
function previewsAs(change: (result: PreviewResult) => PreviewResult): void {
  const { engine } = plumbline.deps;
  plumbline.deps.engine = { ...engine, preview: async (request) => change(await engine.preview(request)) };
}

beforeEach(async () => {
  plumbline = await startTestPlumbline({ workers: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
});
afterEach(() => plumbline.close());

async function waiting(): Promise<RunView> {
  await allow(['operations']);
  await plumbline.stack('shop', operations);
  stackId = await plumbline.stackId('shop');
  await look();
  expect((await newest()).state).toBe('awaiting_approval');
  return await newest();
}

it('is refused where the tenant does not allow it, when it is asked for and when it is planned', async () => {
  await expect(plumbline.stack('shop', operations)).rejects.toThrow('not among the bindings of the tenant');
  await allow(['operations']);
  await plumbline.stack('shop', operations);
  stackId = await plumbline.stackId('shop');
  await allow([]);
  await look();
  expect(await newest()).toMatchObject({ state: 'errored', reason: 'SpecInvalid' });
  expect(plumbline.engine.calls.preview).toBe(0);
});

it('is refused at the apply where the tenant has taken it back', async () => {
  const run = await waiting();
  await plumbline.approve('shop', run);
  await allow([]);
  await look();
  expect((await plumbline.run('shop', run.number)).run).toMatchObject({ state: 'stale' });
  expect(plumbline.engine.log).toEqual([]);
});

it('other values of the same operations and paths are applied, by a plan made for them', async () => {
  const run = await waiting();
  expect((await plumbline.run('shop', run.number)).plan?.bound).toMatchObject({ binding: 'operations' });
  let plans = 0;
  previewsAs((result) => ({ ...result, planHash: `sha256:${(plans += 1)}` }));
  await plumbline.approve('shop', run);
  await look();
  expect(await newest()).toMatchObject({ number: run.number, state: 'applied' });
  expect(plans).toBe(1);
});

it.each<[string, string, (result: PreviewResult) => PreviewResult]>([
  [
    'operation',
    'was create when approved and is now delete',
    (result) => ({ ...result, changes: result.changes.map((change) => ({ ...change, op: 'delete' })) }),
  ],
  [
    'resource',
    'was none when approved and is now create',
    (result) => ({
      ...result,
      changes: [...result.changes, ...result.changes.map((change) => ({ ...change, urn: `${change.urn}-two` }))],
    }),
  ],
  [
    'property path',
    'is now create, add zone',
    (result) => ({
      ...result,
      changes: result.changes.map((change) => ({
        ...change,
        diffs: [{ path: 'zone', kind: 'add', replaces: false }],
      })),
    }),
  ],
  [
    'unknown',
    'is now create, unknown size',
    (result) => ({ ...result, changes: result.changes.map((change) => ({ ...change, unknowns: ['size'] })) }),
  ],
])('another %s stops it before anything changes, and is named', async (_what, named, change) => {
  const run = await waiting();
  await plumbline.approve('shop', run);
  previewsAs(change);
  await look();
  const { run: after } = await plumbline.run('shop', run.number);
  expect(after).toMatchObject({ state: 'stale', reason: 'PlanStale' });
  expect(after.message).toContain(named);
  expect(plumbline.engine.log).toEqual([]);
  expect(plumbline.engine.calls.apply).toBe(0);
});
