import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTarget, type Target } from '../../scripts/demo/target.ts';
import type { TestPlumbline } from '../harness/plumbline.ts';
import { programFiles, startOnRealEngine } from './whole-path.ts';

let plumbline: TestPlumbline;
let target: Target;
let dir: string;
let files: Record<string, string>;
let good: string;

/** Two stacks on one cluster, each with roles of its own. */
function version(stack: string, roles: number, more = ''): Record<string, string> {
  const names = Array.from({ length: roles }, (_, index) => ({ name: `${stack}_${index}` }));
  return { ...files, 'desired.json': JSON.stringify({ roles: names }), 'index.ts': `${files['index.ts']}${more}` };
}

async function advance(stack: string, roles: number): Promise<string> {
  const newest = (await plumbline.runs(stack))[0]?.number ?? 0;
  const digest = await plumbline.push(version(stack, roles), 'prod', stack);
  await plumbline.untilRun(stack, ['applied'], newest);
  return digest;
}

const roles = async () =>
  (
    await target.query<{ rolname: string }>(
      String.raw`SELECT rolname FROM pg_roles WHERE rolname !~ '^(pg_|plumb_)' AND NOT rolsuper ORDER BY 1`,
    )
  ).map((row) => row.rolname);

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plumbline-target-'));
  target = await startTarget(join(dir, 'cluster'));
  plumbline = await startOnRealEngine();
  files = await programFiles('stacks/postgres');
  await plumbline.secret('cluster-plan', target.plan);
  await plumbline.secret('cluster-apply', target.apply);
  for (const stack of ['shop', 'blog']) {
    await plumbline.stack(stack, {
      approval: { mode: 'auto' },
      pulumi: { stack },
      credentials: { plan: 'cluster-plan', apply: 'cluster-apply' },
      retry: { interval: '1h' },
    });
  }
  [good = ''] = await Promise.all(['shop', 'blog'].map((stack) => advance(stack, 1)));
});
afterAll(async () => {
  await plumbline.close();
  await target.cluster.stop();
  await rm(dir, { recursive: true, force: true });
});

/** Statements of one session, each in a transaction of its own. */
const write = (...sql: string[]) => `
import { withDatabase } from './connection.ts';
await withDatabase(undefined, async (client) => {
  for (const sql of ${JSON.stringify(sql)}) await client.query(sql);
});
`;

it.each<[string, string, string]>([
  ['in a session as it is', write('create role sneaky'), 'cannot execute CREATE ROLE in a read-only transaction'],
  [
    'in a session it made writable',
    write('set default_transaction_read_only = off', 'create role sneaky'),
    'permission denied to create role',
  ],
  [
    'in a table of its own',
    write('set default_transaction_read_only = off', 'create table public.sneaky ()'),
    'permission denied for schema public',
  ],
])(
  'a preview that writes with the plan role %s is refused by the database, and nothing is applied',
  async (_how, bad, says) => {
    const before = await roles();
    const newest = (await plumbline.runs('shop'))[0]?.number ?? 0;
    await plumbline.push(version('shop', 2, bad), 'prod', 'shop');
    await plumbline.untilRun('shop', ['errored'], newest);
    const { message } = await plumbline.untilCondition('shop', 'Ready', 'PreviewFailed');
    expect(message).toContain(says);
    for (const credentials of [target.plan, target.apply]) expect(message).not.toContain(credentials['PGPASSWORD']);
    expect(await plumbline.untilEvent('shop', 'RunFailed')).toMatchObject({
      severity: 'error',
      reason: 'PreviewFailed',
      message,
    });
    expect(await roles()).toEqual(before);
    expect((await plumbline.view('shop')).status.applied?.digest).toBe(good);
  },
);

it('the next stack goes on, and without the write the same change is applied', async () => {
  await Promise.all([advance('blog', 2), advance('shop', 2)]);
  expect(await roles()).toEqual(['blog_0', 'blog_1', 'shop_0', 'shop_1']);
});
