import { Redis } from 'ioredis';
import { sql } from 'kysely';
import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

const CANARIES = {
  password: 'canary-Pa55/word+config',
  plan: 'canary-plan-token',
  apply: 'canary-apply-token',
  registry: 'canary-registry-password',
};

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

/** The canaries as they may be written: as they are, in JSON, in a URL, in base64 and in hex. */
const FORMS = Object.values(CANARIES).flatMap((value) => [
  value,
  encodeURIComponent(value),
  Buffer.from(value).toString('base64').replace(/=+$/, ''),
  Buffer.from(value).toString('hex'),
]);

function found(text: string): string[] {
  return FORMS.filter((form) => text.includes(form));
}

async function everyRow(): Promise<string> {
  const { db } = plumbline.database;
  const { rows: tables } = await sql<{
    name: string;
  }>`select table_name as name from information_schema.tables where table_schema = 'public'`.execute(db);
  expect(tables.length).toBeGreaterThan(15);
  const texts = [];
  for (const { name } of tables) {
    const { rows } = await sql<{ text: string }>`select row_to_json(t)::text as text from ${sql.table(name)} t`.execute(
      db,
    );
    texts.push(...rows.map((row) => row.text));
  }
  return texts.join('\n');
}

async function everyKey(): Promise<string> {
  const redis = new Redis(plumbline.redisUrl);
  try {
    const keys = await redis.keys(`*${plumbline.tenant}*`);
    expect(keys.length).toBeGreaterThan(0);
    const dumps = await Promise.all(keys.map((key) => redis.dumpBuffer(key)));
    return [...keys, ...dumps.map((dump) => dump?.toString('latin1') ?? '')].join('\n');
  } finally {
    redis.disconnect();
  }
}

it('neither the database, Redis, the log, events nor any answer holds it, even when the program prints it', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.secret('db', { password: CANARIES.password });
  await plumbline.secret('plan-key', { TOKEN: CANARIES.plan });
  await plumbline.secret('apply-key', { TOKEN: CANARIES.apply });
  await plumbline.secret('registry', { username: 'robot', password: CANARIES.registry });
  const source = {
    repository: `oci://${plumbline.registryHost}/infra/shop`,
    ref: { tag: 'prod' },
    credentials: 'registry',
  };
  await plumbline.stack('shop', {
    source,
    pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } },
    credentials: { plan: 'plan-key', apply: 'apply-key' },
  });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.applied('shop');
  await plumbline.push({ resources: {}, leaks: true });
  const failed = await plumbline.untilRun('shop', ['errored'], 1);
  expect(failed.message).toContain('[secret]');
  await plumbline.untilCondition('shop', 'Stalled', 'PreviewFailed');

  const base = `/v1/tenants/${plumbline.tenant}`;
  const paths = [
    '/stacks',
    '/stacks/shop',
    '/stacks/shop/runs',
    '/stacks/shop/runs/1',
    '/stacks/shop/drift',
    '/events',
    '/secrets',
    '/receivers',
    '/tokens',
  ];
  const answers = await Promise.all(paths.map((path) => plumbline.api('GET', `${base}${path}`)));
  expect(answers.map((answer) => answer.status)).toEqual(paths.map(() => 200));
  expect(found(JSON.stringify(answers))).toEqual([]);
  expect(found(await everyRow())).toEqual([]);
  expect(found(await everyKey())).toEqual([]);
  expect(plumbline.log.length).toBeGreaterThan(10);
  expect(found(plumbline.log.join('\n'))).toEqual([]);
});
