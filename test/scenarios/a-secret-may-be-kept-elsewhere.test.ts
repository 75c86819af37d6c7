import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let dir: string;
let plumbline: TestPlumbline;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'elsewhere-'));
  plumbline = await startTestPlumbline({ config: { PLUMBLINE_SECRET_FILES: dir } });
  await mkdir(join(dir, plumbline.tenant));
});
afterEach(async () => {
  await plumbline.close();
  await rm(dir, { recursive: true, force: true });
});

function manifest(kind: string, name: string, spec: unknown) {
  return { apiVersion: 'plumbline.dev/v1alpha1', kind, metadata: { name, tenant: plumbline.tenant }, spec };
}

async function apply(...manifests: unknown[]) {
  return await plumbline.api<{ detail?: string }>('POST', '/v1/apply', { manifests });
}

async function keep(password: string): Promise<void> {
  await writeFile(join(dir, plumbline.tenant, 'db'), JSON.stringify({ password }));
}

const FILE = { external: { store: 'file', path: 'db' } };

it('is read at every run, another value makes an approval stale, and a store that is empty stops nothing else', async () => {
  expect((await apply(manifest('Secret', 'db', FILE))).status).toBe(200);
  await plumbline.stack('shop', {
    pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } },
  });
  await plumbline.push({ resources: { web: { size: 1 } } });
  // The service took the Stack without asking the store.
  const missing = await plumbline.untilCondition('shop', 'Stalled', 'SecretNotFound');
  expect(missing.message).toContain('there is no such file');
  await keep('first-value');
  await plumbline.post('shop', 'reconcile');
  const run = await plumbline.untilRun('shop', ['awaiting_approval']);

  await keep('second-value');
  await plumbline.approve('shop', run);
  const stale = await plumbline.untilEvent('shop', 'PlanStale');
  expect(stale.message).toContain('config.password was hmac-sha256:');
  expect(JSON.stringify(await plumbline.events('shop'))).not.toContain('-value');
  const next = await plumbline.untilRun('shop', ['awaiting_approval'], run.number);
  await plumbline.approve('shop', next);
  await plumbline.untilRun('shop', ['applied'], run.number);
  const versions = await plumbline.database.db.selectFrom('secrets').selectAll().where('name', '=', 'db').execute();
  // Another value is a new version at once, and a new wish at most every ten minutes.
  expect(versions).toMatchObject([{ version: 2, wanted_version: 1 }]);
  await sql`update secrets set updated_at = updated_at - interval '1 hour'`.execute(plumbline.database.db);
  await plumbline.driftCheck('shop');
  // The next poll plans with it.
  await sql`update stacks set next_reconcile_at = clock_timestamp()`.execute(plumbline.database.db);
  await plumbline.sweep();
  await plumbline.untilRun('shop', ['planned', 'awaiting_approval'], next.number);
});

it('the service refuses for itself, for what opens a store, and a key that is not named', async () => {
  expect((await apply(manifest('Secret', 'db', { external: { ...FILE.external, keys: { a: 'b' } } }))).status).toBe(
    200,
  );
  const receiver = await apply(manifest('Receiver', 'r', { type: 'generic-hmac', secret: { secret: 'db', key: 'a' } }));
  expect(receiver.body.detail).toContain('what the service reads must be kept here');
  const vault = { store: 'vault', path: 'a/b', address: 'https://v', credentials: 'db' };
  expect((await apply(manifest('Secret', 'v', { external: vault }))).body.detail).toContain('what reads a store');
  const bad = await apply(manifest('Secret', 'bad', { external: { store: 'file', path: '../bank/db' } }));
  expect(bad).toMatchObject({
    status: 422,
    body: { detail: expect.stringContaining('below the folder of the tenant') },
  });
  const unopened = manifest('Secret', 'v', { external: { ...vault, credentials: 'none' } });
  expect((await apply(unopened)).body.detail).toContain('secret none does not exist');
  const source = { repository: `oci://${plumbline.registryHost}/infra/shop`, ref: { tag: 'prod' } };
  const pulumi = { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } };
  const answer = await apply(manifest('Stack', 'shop', { source, pulumi }));
  expect(answer.body.detail).toContain('secret db has no key password');
});
