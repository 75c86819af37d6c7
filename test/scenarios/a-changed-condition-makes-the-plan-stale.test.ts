import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

async function applied() {
  plumbline = await startTestPlumbline();
  await plumbline.secret('db', { password: 'first-password' });
  await plumbline.secret('plan-key', { TOKEN: 'plan-token-1' });
  await plumbline.secret('apply-key', { TOKEN: 'apply-token-1' });
  const change = {
    pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } }, environment: { REGION: 'one' } },
    credentials: { plan: 'plan-key', apply: 'apply-key' },
  };
  await plumbline.stack('shop', change);
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.applied('shop');
  await plumbline.push({ resources: { web: { size: 2 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval'], 1);
  return waiting;
}

/** Rows changed behind the API's back, so that no request supersedes the run first. */
async function rotate(name: string): Promise<void> {
  const { db } = plumbline.database;
  await db
    .updateTable('secrets')
    .set((row) => ({ version: row('version', '+', 1) }))
    .where('name', '=', name)
    .execute();
}

function otherDependencies(): void {
  const { dependencies } = plumbline.deps;
  plumbline.deps.dependencies = async (request) => ({ ...(await dependencies(request)), digest: 'sha256:other' });
}

/**
 * Makes the change when the worker has taken the approved run up and has not compared anything yet. Made any earlier, a last
 * look at the waiting plan may see it first and supersede the plan, which is right and another promise.
 */
async function betweenApprovalAndCheck(number: number, change: () => Promise<void> | void): Promise<void> {
  const { id } = await plumbline.database.db
    .selectFrom('runs')
    .select('id')
    .where('number', '=', number)
    .executeTakeFirstOrThrow();
  const { dependencies } = plumbline.deps;
  plumbline.deps.dependencies = async (request) => {
    if (request.runId !== id) return await dependencies(request);
    plumbline.deps.dependencies = dependencies;
    await change();
    return await plumbline.deps.dependencies(request);
  };
}

const CHANGES: [string, string, () => Promise<void> | void][] = [
  ['the state', 'checkpoint', () => void (plumbline.engine.only().state['web'] = { size: 7 })],
  ['the plan credentials', 'credentials.plan', () => rotate('plan-key')],
  ['the apply credentials', 'credentials.apply', () => rotate('apply-key')],
  ['the engine', 'versions.engine', () => void (plumbline.engine.versions = async () => ({ engine: 'other' }))],
  ['the dependencies', 'dependencies', otherDependencies],
];

for (const [what, path, change] of CHANGES) {
  it(`${what} changed after the approval: nothing is applied, ${path} is named, a new plan is made`, async () => {
    const waiting = await applied();
    await betweenApprovalAndCheck(waiting.number, change);
    expect((await plumbline.approve('shop', waiting)).status).toBe(200);
    const next = await plumbline.untilRun('shop', ['awaiting_approval'], waiting.number);
    const { run } = await plumbline.run('shop', waiting.number);
    expect(run).toMatchObject({ state: 'stale', reason: 'PlanStale' });
    expect(next).toMatchObject({ digest: waiting.digest, trigger: 'stale' });
    expect(next.planDigest).not.toBe(waiting.planDigest);
    expect(plumbline.engine.log).toEqual(['create web']);
    const event = await plumbline.untilEvent('shop', 'PlanStale');
    expect(event.message).toContain(`${path} was `);
  });

  // A run installs its dependencies once, into a folder of its own: nothing can change them afterwards.
  if (path === 'dependencies') continue;
  it(`${what} changed between our check and the engine's lock: the gate stops it`, async () => {
    const waiting = await applied();
    plumbline.engine.hooks.gate = async () => {
      plumbline.engine.hooks.gate = undefined;
      await change();
    };
    expect((await plumbline.approve('shop', waiting)).status).toBe(200);
    await plumbline.untilRun('shop', ['awaiting_approval'], waiting.number);
    expect((await plumbline.run('shop', waiting.number)).run).toMatchObject({ state: 'stale', reason: 'PlanStale' });
    expect(plumbline.engine.log).toEqual(['create web']);
    expect((await plumbline.untilEvent('shop', 'PlanStale')).message).toContain(`${path} was `);
  });
}

it('a secret of the configuration, applied again with another value, is a new plan; its value is told to nobody', async () => {
  const waiting = await applied();
  await plumbline.secret('db', { password: 'second-password' });
  const next = await plumbline.until('a newer plan', async () =>
    (await plumbline.runs('shop')).find((run) => run.number > waiting.number && run.state === 'awaiting_approval'),
  );
  expect((await plumbline.approve('shop', waiting)).status).toBe(409);
  expect(next.planDigest).not.toBe(waiting.planDigest);
  const said = JSON.stringify([await plumbline.events('shop'), await plumbline.run('shop', next.number)]);
  expect(said).not.toMatch(/(first|second)-password/);
});
