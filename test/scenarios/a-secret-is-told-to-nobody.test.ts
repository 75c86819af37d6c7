import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { open } from '#core/secrets.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

/** One in every place a secret may be. The first has what JSON, URLs, HTML and Go write otherwise. */
const CANARIES = {
  config: 'canary-Pa55/word+"config"&<1>',
  plan: 'canary-plan-token',
  apply: 'canary-apply-token',
  registry: 'canary-registry-password',
  file: 'canary-of-a-file',
  variable: 'canary-of-a-variable',
  vault: 'canary-of-vault',
  vaultToken: 'canary-vault-token',
  passphrase: 'canary-own-passphrase',
};

let dir: string;
let vault: Server;
let vaultUrl: string;
let plumbline: TestPlumbline;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'canaries-'));
  vault = createServer((request, response) => {
    const isKnown = request.headers['x-vault-token'] === CANARIES.vaultToken;
    response.writeHead(isKnown ? 200 : 403, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ data: { data: { token: CANARIES.vault }, metadata: { version: 1 } } }));
  });
  await new Promise<void>((resolve) => vault.listen(0, '127.0.0.1', resolve));
  const address = vault.address();
  vaultUrl = `http://127.0.0.1:${address === null || typeof address === 'string' ? 0 : address.port}`;
});
afterEach(async () => {
  await plumbline.close();
  vault.close();
  await rm(dir, { recursive: true, force: true });
});

/** As it may be written: as it is, in JSON, in a URL, in base64 and in hex. */
function formsOf(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  return [
    value,
    json,
    JSON.stringify(json).slice(1, -1),
    encodeURIComponent(value),
    Buffer.from(value).toString('base64').replace(/=+$/, ''),
    Buffer.from(`user:${value}`).toString('base64').slice(8, -4),
    Buffer.from(value).toString('hex'),
  ];
}

let more: string[] = [];
function found(text: string): string[] {
  const values = [...Object.values(CANARIES), ...more];
  return values.flatMap(formsOf).filter((form) => text.includes(form));
}

/** Every row of every table as text, bytes in hex. */
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

/** Every file of the data folder, caches and runs among it. */
async function everyFile(): Promise<string> {
  const root = plumbline.deps.config.dataDir;
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  expect(files.length).toBeGreaterThan(0);
  const texts = await Promise.all(files.map((file) => readFile(file, 'latin1')));
  return [...files, ...texts].join('\n');
}

async function everyAnswer(): Promise<string> {
  const base = `/v1/tenants/${plumbline.tenant}`;
  const runs = (await plumbline.runs('shop')).map(({ number }) => `/stacks/shop/runs/${number}`);
  const stack = ['/stacks', '/stacks/shop', '/stacks/shop/runs', '/stacks/shop/drift', '/stacks/shop/revisions'];
  const paths = [...stack, ...runs, '/events', '/secrets', '/receivers', '/tokens'];
  const answers = await Promise.all(paths.map((path) => plumbline.api('GET', `${base}${path}`)));
  expect(answers.map((answer) => answer.status)).toEqual(paths.map(() => 200));
  const headers = { authorization: `Bearer ${plumbline.token}` };
  const logs = await Promise.all(
    runs.map(async (path) => (await fetch(`${plumbline.url}${base}${path}/log`, { headers })).text()),
  );
  expect(logs.join('')).toContain('[secret]');
  return JSON.stringify([answers, logs]);
}

/** A stack with a secret of every kind, in every place that takes one. */
async function plant(): Promise<void> {
  const { tenant } = plumbline;
  const folder = join(dir, tenant);
  await mkdir(folder);
  await writeFile(join(folder, 'token'), CANARIES.file);
  process.env[`CANARY_${tenant.toUpperCase()}_TOKEN`] = CANARIES.variable;
  await plumbline.secret('db', { password: CANARIES.config });
  await plumbline.secret('plan-key', { TOKEN: CANARIES.plan });
  await plumbline.secret('apply-key', { TOKEN: CANARIES.apply });
  await plumbline.secret('registry', { username: 'robot', password: CANARIES.registry });
  await plumbline.secret('vault', { token: CANARIES.vaultToken });
  await plumbline.secret('state', { passphrase: CANARIES.passphrase });
  const external = {
    'of-file': { store: 'file', path: 'token' },
    'of-variable': { store: 'environment', path: 'TOKEN' },
    'of-vault': { store: 'vault', path: 'secret/data/shop', address: vaultUrl, credentials: 'vault' },
  };
  for (const [name, spec] of Object.entries(external)) {
    const metadata = { name, tenant };
    const body = {
      manifests: [{ apiVersion: 'plumbline.dev/v1alpha1', kind: 'Secret', metadata, spec: { external: spec } }],
    };
    expect(await plumbline.api('POST', '/v1/apply', body)).toMatchObject({ status: 200 });
  }
  const repository = `oci://${plumbline.registryHost}/infra/shop`;
  await plumbline.stack('shop', {
    source: { repository, ref: { tag: 'prod' }, credentials: 'registry' },
    pulumi: {
      stack: 'prod',
      passphrase: { secret: 'state', key: 'passphrase' },
      secrets: {
        password: { secret: 'db', key: 'password' },
        file: { secret: 'of-file', key: 'value' },
        variable: { secret: 'of-variable', key: 'value' },
        vault: { secret: 'of-vault', key: 'token' },
      },
    },
    credentials: { plan: 'plan-key', apply: 'apply-key' },
  });
}

it('neither the database, Redis, the log, events, files nor any answer holds it, whatever the program does with it', async () => {
  plumbline = await startTestPlumbline({
    config: { PLUMBLINE_SECRET_FILES: dir, PLUMBLINE_SECRET_VARIABLES: 'CANARY_' },
  });
  await plant();
  // Printed in every form, and put into properties of a plan that is applied.
  await plumbline.push({ resources: { web: { size: 1 } }, spills: true });
  await plumbline.applied('shop');
  // Changed outside, so that a drift check sees them.
  const { world } = plumbline.engine.only();
  world['spilled'] = { p0: `other ${CANARIES.config}`, deep: CANARIES.vault };
  await plumbline.driftCheck('shop');
  expect(JSON.stringify(await plumbline.drift('shop'))).toContain('[secret]');
  // In the message of an error.
  await plumbline.push({ resources: {}, leaks: true });
  const failed = await plumbline.untilRun('shop', ['errored'], 1);
  expect(failed.message).toContain('[secret]');
  await plumbline.untilCondition('shop', 'Stalled', 'PreviewFailed');
  const first = await plumbline.run('shop', 1);
  expect(JSON.stringify(first.plan?.changes)).toMatch(/"op":"create"/);

  const [stack] = await plumbline.database.db.selectFrom('stacks').selectAll().execute();
  const sealed = stack?.passphrase ?? Buffer.alloc(0);
  const passphrase = open(plumbline.deps.masterKey, sealed, `passphrase/${plumbline.tenant}/${stack?.id}`);
  expect(passphrase.toString()).toBe(CANARIES.passphrase);
  more = [plumbline.deps.masterKey.master.export().toString('hex'), plumbline.hook.secret];
  expect(found(`${JSON.stringify(CANARIES)} ${plumbline.hook.secret}`)).not.toEqual([]);
  expect(found(await everyAnswer())).toEqual([]);
  expect(found(await everyRow())).toEqual([]);
  // A token is shown once and known by its hash alone.
  expect(await everyRow()).not.toContain(plumbline.token);
  expect(found(await everyKey())).toEqual([]);
  expect(found(await everyFile())).toEqual([]);
  expect(plumbline.log.length).toBeGreaterThan(10);
  expect(found(plumbline.log.join('\n'))).toEqual([]);
});
