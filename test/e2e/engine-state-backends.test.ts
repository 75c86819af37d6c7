import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { EngineRequest } from '#core/engine/port.ts';
import { lockKey } from '#core/engine/locks.ts';
import type { StateIdentity } from '#core/domain/plan.ts';
import { startMoto, type Moto } from '../../toolchain/moto.ts';
import { startAzureBlob, startGoogleStorage, type ObjectStore } from './backends/object-stores.ts';
import { startPulumiCloud, type PulumiCloud } from './backends/pulumi-cloud.ts';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

/** No resource but the stack itself: what is looked at is the backend, not a provider. */
const PROGRAM = 'name: files\nruntime: yaml\noutputs:\n  greeting: hello\n';
const AWS = { AWS_ACCESS_KEY_ID: 'AKIATEST', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: 'eu-central-1' };
/** Moto asks for a signature and does not look at it. */
const SIGNED = {
  authorization:
    'AWS4-HMAC-SHA256 Credential=AKIATEST/20261124/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=0',
};
const AZURE_KEY = Buffer.from('a key of nobody').toString('base64');

let fixture: EngineFixture;
let moto: Moto;
let google: ObjectStore;
let azure: ObjectStore;
let cloud: PulumiCloud;
let database: pg.Pool;

beforeAll(async () => {
  [fixture, moto, google, azure, cloud] = await Promise.all([
    openEngineFixture(),
    startMoto(inject('toolchainDir')),
    startGoogleStorage(),
    startAzureBlob(),
    startPulumiCloud(),
  ]);
  database = new pg.Pool({ connectionString: inject('postgresUrl') });
  await fetch(`${moto.origin}/states`, {
    method: 'PUT',
    headers: SIGNED,
    body: '<CreateBucketConfiguration><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>',
  });
});
afterAll(async () => {
  await Promise.all([fixture?.close(), moto?.stop(), google?.close(), azure?.close(), cloud?.close(), database?.end()]);
});

interface Backend {
  backend: string;
  environment: Record<string, string>;
  /** Undefined: it keeps no lock objects. */
  locks?: {
    put(key: string, text: string): Promise<unknown>;
    has(key: string): Promise<boolean>;
    drop(key: string): Promise<unknown>;
  };
}

const inStore = (store: ObjectStore): Backend['locks'] => ({
  put: async (key, text) => store.objects.set(key, Buffer.from(text)),
  has: async (key) => store.objects.has(key),
  drop: async (key) => store.objects.delete(key),
});

const TABLE = 'pulumi_state_contract';

const BACKENDS: Record<string, () => Backend> = {
  s3: () => {
    const at = (key: string) => `${moto.origin}/states/${key}`;
    return {
      backend: `s3://states/acme?region=eu-central-1&endpoint=${moto.origin}&use_path_style=true&disable_https=true`,
      environment: AWS,
      locks: {
        put: (key, text) => fetch(at(key), { method: 'PUT', body: text, headers: SIGNED }),
        has: async (key) => (await fetch(at(key), { headers: SIGNED })).ok,
        drop: (key) => fetch(at(key), { method: 'DELETE', headers: SIGNED }),
      },
    };
  },
  gs: () => ({
    backend: 'gs://states/acme',
    environment: { STORAGE_EMULATOR_HOST: google.host, GOOGLE_OAUTH_ACCESS_TOKEN: 'a-token-of-the-test' },
    locks: inStore(google),
  }),
  azblob: () => ({
    backend: 'azblob://states/acme',
    environment: {
      AZURE_STORAGE_ACCOUNT: 'acmestate',
      AZURE_STORAGE_KEY: AZURE_KEY,
      AZURE_STORAGE_DOMAIN: azure.host,
      AZURE_STORAGE_PROTOCOL: 'http',
    },
    locks: inStore(azure),
  }),
  postgres: () => {
    const url = new URL(inject('postgresUrl'));
    const environment = { PGUSER: url.username, PGPASSWORD: url.password };
    url.username = '';
    url.password = '';
    url.searchParams.set('sslmode', 'disable');
    url.searchParams.set('table', TABLE);
    const data = (text: string) => JSON.stringify({ data: Buffer.from(text).toString('base64') });
    return {
      backend: url.href,
      environment,
      locks: {
        put: (key, text) => database.query(`insert into ${TABLE} (key, data) values ($1, $2)`, [key, data(text)]),
        has: async (key) => (await database.query(`select from ${TABLE} where key = $1`, [key])).rowCount === 1,
        drop: (key) => database.query(`delete from ${TABLE} where key = $1`, [key]),
      },
    };
  },
  https: () => ({ backend: cloud.url, environment: { PULUMI_ACCESS_TOKEN: cloud.token } }),
};

const identityOf = ({ backend }: Backend): StateIdentity => ({
  backend,
  organization: backend.startsWith('http') ? 'acme' : 'organization',
  project: 'files',
  stack: 'test',
});

async function ask(backend: Backend, more: Partial<EngineRequest> = {}): Promise<EngineRequest> {
  const { environment } = backend;
  const request = await fixture.request(
    { secret: 'hush hush' },
    { identity: identityOf(backend), environment, ...more },
  );
  await writeFile(join(request.programDir, 'Pulumi.yaml'), PROGRAM);
  return request;
}

const lock = (hostname: string) =>
  JSON.stringify({ pid: 7, username: 'ann', hostname, timestamp: '2026-11-24T14:00:00Z' });
const OURS = '2b1f0a52-6c1e-4b7e-9f0a-000000000001.json';
const THEIRS = '2b1f0a52-6c1e-4b7e-9f0a-000000000002.json';

describe.each(Object.keys(BACKENDS))('a state in %s', (scheme) => {
  const backend = () => BACKENDS[scheme]?.() ?? expect.fail();

  it('is planned, applied, read again and exported with its secrets encrypted', async () => {
    const request = await ask(backend());
    expect(await fixture.engine.checkpoint(request)).toMatchObject({ hash: 'absent' });
    const { plan, summary } = await fixture.engine.preview(request);
    expect(summary).toMatchObject({ create: 1 });
    const applied = await fixture.engine.apply({ ...request, plan, gate: async () => [] });
    expect(applied.checkpoint).toMatchObject({ resources: 1, pendingOperations: [] });
    const exported = await fixture.engine.exec(await ask(backend()), { command: ['stack', 'export'] });
    expect(exported.code).toBe(0);
    expect(JSON.parse(exported.state ?? '')).toMatchObject({
      deployment: { resources: [{ type: 'pulumi:pulumi:Stack' }] },
    });
    expect(exported.state).not.toContain('hush hush');
  });

  it('has exactly the lock of a dead run of ours removed, and a foreign one waited for', async () => {
    const { locks } = backend();
    if (locks === undefined) return;
    const [ours, theirs] = [OURS, THEIRS].map((name) => lockKey(identityOf(backend()), name));
    await locks.put(ours ?? '', lock('plumb-dead'));
    const refreshed = await fixture.engine.refresh(await ask(backend(), { deadRunIds: ['dead'] }), []);
    expect(refreshed.resources).toBe(1);
    expect(await locks.has(ours ?? '')).toBe(false);
    await locks.put(theirs ?? '', lock('laptop'));
    const waits = fixture.engine.refresh(await ask(backend(), { deadRunIds: ['dead'] }), []);
    await expect(waits).rejects.toMatchObject({
      kind: 'waiting',
      reason: 'StateLocked',
      message: expect.stringContaining('ann@laptop (pid 7)'),
    });
    expect(await locks.has(theirs ?? '')).toBe(true);
    await locks.drop(theirs ?? '');
  });
});

describe('a foreign starter that comes in the moment we remove our lock', () => {
  it('keeps its own: it is not removed with ours, and we wait for it', async () => {
    const backend = BACKENDS['gs']?.() ?? expect.fail();
    const [ours, theirs] = [OURS, THEIRS].map((name) => lockKey(identityOf(backend), name));
    google.objects.set(ours ?? '', Buffer.from(lock('plumb-dead')));
    const removed: string[] = [];
    google.beforeDelete = (key) => {
      removed.push(key);
      google.objects.set(theirs ?? '', Buffer.from(lock('laptop')));
    };
    const waits = fixture.engine.refresh(await ask(backend, { deadRunIds: ['dead'] }), []);
    await expect(waits).rejects.toMatchObject({
      reason: 'StateLocked',
      message: expect.stringContaining('ann@laptop'),
    });
    google.beforeDelete = undefined;
    expect(removed.filter((key) => key.includes('/locks/'))).toEqual([ours]);
    expect(google.objects.has(theirs ?? '')).toBe(true);
    google.objects.delete(theirs ?? '');
  });
});

describe('bad input', () => {
  it('a checkpoint that is no JSON stalls, and the next look is unharmed', async () => {
    const backend = BACKENDS['gs']?.() ?? expect.fail();
    const key = 'acme/.pulumi/stacks/files/cut.json';
    const at = { identity: { ...identityOf(backend), stack: 'cut' } };
    google.objects.set('acme/.pulumi/meta.yaml', Buffer.from('version: 1\n'));
    google.objects.set(key, Buffer.from('{"version": 3, "checkpoint": {"sta'));
    await expect(fixture.engine.checkpoint(await ask(backend, at))).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'StateInvalid',
    });
    google.objects.delete(key);
    expect(await fixture.engine.checkpoint(await ask(backend, at))).toMatchObject({ hash: 'absent' });
  });

  it.each([
    ['azblob', { AZURE_STORAGE_ACCOUNT: 'other' }],
    ['https', { PULUMI_ACCESS_TOKEN: 'pul-wrong' }],
  ])('credentials that %s refuses are named as such', async (scheme, wrong) => {
    const backend = BACKENDS[scheme]?.() ?? expect.fail();
    const request = await ask({ ...backend, environment: { ...backend.environment, ...wrong } });
    await expect(fixture.engine.checkpoint(request)).rejects.toMatchObject({ reason: 'BackendUnreachable' });
  });

  it('an update the cloud has under way is waited for, in its words', async () => {
    const backend = BACKENDS['https']?.() ?? expect.fail();
    cloud.busy = true;
    const waits = fixture.engine.refresh(await ask(backend), []);
    await expect(waits).rejects.toMatchObject({
      kind: 'waiting',
      reason: 'StateLocked',
      message: expect.stringContaining('Another update is currently in progress'),
    });
    cloud.busy = false;
  });
});
