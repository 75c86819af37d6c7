import { sql } from 'kysely';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RunView } from '#core/domain/view.ts';
import { reconcile } from '../../workers/reconcile.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
let stackId: string;
let waiting: RunView;

beforeAll(async () => {
  // One stack whose plan is made again after every refusal: what is refused is the next test's beginning.
  plumbline = await startTestPlumbline({ workers: false });
  await plumbline.secret('db', { password: 'first-password' });
  await plumbline.secret('plan-key', { TOKEN: 'plan-token-1' });
  await plumbline.secret('apply-key', { TOKEN: 'apply-token-1' });
  await plumbline.push({ resources: { web: { size: 1 }, old: { size: 1 } } });
  await plumbline.stack('shop', {
    pulumi: {
      stack: 'prod',
      config: { size: 1 },
      secrets: { password: { secret: 'db', key: 'password' } },
      environment: { REGION: 'one' },
    },
    credentials: { plan: 'plan-key', apply: 'apply-key' },
  });
  stackId = await plumbline.stackId('shop');
  await look();
  const first = await newest();
  await plumbline.approve('shop', first);
  await look();
  const { state } = await newest();
  if (state !== 'applied') throw new Error(`the first run is ${state}`);
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.post('shop', 'reconcile');
  await look();
  waiting = await newest();
});
afterAll(() => plumbline.close());

const look = () => reconcile(plumbline.deps, stackId);

async function newest(): Promise<RunView> {
  const [run] = await plumbline.runs('shop');
  if (run === undefined) throw new Error('no run');
  return run;
}

const runs = () => plumbline.database.db.updateTable('runs').where('number', '=', waiting.number);
const plans = () => plumbline.database.db.updateTable('plans').where('plan_digest', '=', waiting.planDigest ?? '');
const secrets = (name: string) => plumbline.database.db.updateTable('secrets').where('name', '=', name);

const setSpec = async (path: string, value: unknown) =>
  void (await runs()
    .set({ spec: sql<string>`jsonb_set(spec, ${path}::text[], ${JSON.stringify(value)}::jsonb)` })
    .execute());
const rotate = async (name: string) =>
  void (await secrets(name)
    .set((row) => ({ version: row('version', '+', 1) }))
    .execute());

let count = 0;
const version = (name: string) => () => {
  const { engine } = plumbline.deps;
  const value = `changed-${(count += 1)}`;
  plumbline.deps.engine = { ...engine, versions: async (dir) => ({ ...(await engine.versions(dir)), [name]: value }) };
};

/** What is changed, the name of it that people are told, and how it is changed behind the API's back. */
const ITEMS: [string, string, () => Promise<unknown> | void][] = [
  ['the operation', 'operation', () => runs().set({ operation: 'rollback' }).execute()],
  ['the targets', 'targets', () => runs().set({ targets: '["urn:pulumi:prod::shop::a:b:C::web"]' }).execute()],
  [
    'the artifact',
    'newer revision',
    async () => {
      await plumbline.push({ resources: { web: { size: (count += 100) } } });
      await plumbline.post('shop', 'reconcile');
    },
  ],
  ['the address of the state', 'identity.stack', () => setSpec('{pulumi,stack}', 'other')],
  ['the state', 'checkpoint', () => void (plumbline.engine.only().state['web'] = { size: (count += 10) })],
  [
    'the dependencies',
    'dependencies',
    () => {
      const digest = `sha256:other-${(count += 1)}`;
      plumbline.deps.dependencies = async () => ({ digest, nodeModules: undefined, plugins: undefined });
    },
  ],
  ['the config', 'config.size', () => setSpec('{pulumi,config,size}', 2)],
  [
    'the secret of a config value',
    'config.password',
    () => plumbline.secret('db', { password: `other-${(count += 1)}` }),
  ],
  ['the environment', 'environment.REGION', () => setSpec('{pulumi,environment,REGION}', 'two')],
  ['the plan credentials', 'credentials.plan', () => rotate('plan-key')],
  ['the apply credentials', 'credentials.apply', () => rotate('apply-key')],
  ['the engine', 'versions.engine', version('engine')],
  ['the host', 'versions.host', version('host')],
  ['Node.js', 'versions.node', version('node')],
  ['a plugin', 'versions.plugin aws', version('plugin aws')],
  ['the approval rule', 'rule.maxChanges', () => setSpec('{approval,maxChanges}', 7)],
  ['the changes people were shown', 'shown', () => plans().set({ changes: '[]' }).execute()],
  [
    'the summary people were shown',
    'not the approved one',
    () =>
      plans()
        .set({ bound: sql<string>`jsonb_set(bound, '{summary,update}', '9')` })
        .execute(),
  ],
  [
    'the update plan, which was cut',
    'cut, edited',
    () =>
      plans()
        .set({ bytes: sql<Buffer>`substring(bytes from 1 for 40)` })
        .execute(),
  ],
  [
    'the update plan, of which a byte was edited',
    'cut, edited',
    () =>
      plans()
        .set({ bytes: sql<Buffer>`set_byte(bytes, length(bytes) - 1, 255 - get_byte(bytes, length(bytes) - 1))` })
        .execute(),
  ],
  [
    'the update plan, now garbage',
    'cut, edited',
    () =>
      plans()
        .set({ bytes: Buffer.from('{"not":"sealed"}') })
        .execute(),
  ],
  [
    'whose signatures count',
    'verification.trustKey',
    () =>
      plumbline.database.db
        .updateTable('tenants')
        .set({
          spec: sql<string>`jsonb_set(spec, '{verify}', ${JSON.stringify({ unsigned: { reason: `reason ${(count += 1)}` } })}::jsonb)`,
        })
        .where('name', '=', plumbline.tenant)
        .execute(),
  ],
  [
    'the generation',
    'generation|newer revision or spec',
    () =>
      plumbline.database.db
        .updateTable('stacks')
        .set((row) => ({ generation: row('generation', '+', 1) }))
        .where('id', '=', stackId)
        .execute(),
  ],
];

async function expectRefused(named: string): Promise<void> {
  const { run } = await plumbline.run('shop', waiting.number);
  expect(run.message).toMatch(new RegExp(named));
  expect(['stale', 'superseded']).toContain(run.state);
  // Nothing was changed in the world, however often a plan was refused.
  expect(plumbline.engine.log.toSorted()).toEqual(['create old', 'create web']);
  // The next plan is made at once, of the same revision.
  const next = await newest();
  expect(next).toMatchObject({ state: 'awaiting_approval' });
  expect(next.number).toBeGreaterThan(waiting.number);
  waiting = next;
}

it.each(ITEMS)('%s changed between plan and approval: refused, and %s is named', async (_what, named, change) => {
  await change();
  const answer = await plumbline.approve('shop', waiting);
  await look();
  if (answer.status === 200) return await expectRefused(named);
  // What the API sees itself is refused before it is approved.
  expect(answer.status).toBe(409);
  await expectRefused('');
});

it.each(ITEMS)('%s changed between approval and apply: refused, and %s is named', async (_what, named, change) => {
  expect((await plumbline.approve('shop', waiting)).status).toBe(200);
  await change();
  await look();
  await expectRefused(named);
});

/** What a worker reads again while the engine holds the lock; of the run and its folder it keeps what it has. */
const AT_THE_LOCK = new Set([
  'checkpoint',
  'credentials.plan',
  'credentials.apply',
  'config.password',
  'versions.engine',
  'shown',
]);

it.each(ITEMS.filter(([, named]) => AT_THE_LOCK.has(named) && named !== 'shown'))(
  '%s changed between our check and the lock of the engine: the gate refuses, and %s is named',
  async (_what, named, change) => {
    plumbline.engine.hooks.gate = async () => {
      plumbline.engine.hooks.gate = undefined;
      await change();
    };
    expect((await plumbline.approve('shop', waiting)).status).toBe(200);
    await look();
    await expectRefused(named);
  },
);

it('a secret that is applied again with another value is a new plan, and its value is told to nobody', async () => {
  await plumbline.secret('db', { password: 'last-password' });
  await look();
  expect((await plumbline.approve('shop', waiting)).status).toBe(409);
  await expectRefused('');
  const said = JSON.stringify([await plumbline.events('shop'), await plumbline.run('shop', waiting.number)]);
  expect(said).not.toMatch(/(first|last|other-\d+)-password/);
});

it('after all of it the plan that waits now is applied', async () => {
  expect((await plumbline.approve('shop', waiting)).status).toBe(200);
  await look();
  expect((await newest()).state).toBe('applied');
  expect(plumbline.engine.log.slice(2)).toEqual(expect.arrayContaining(['delete old', 'update web']));
});
