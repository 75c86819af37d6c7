import { createSecretKey, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterEach, describe, expect, it } from 'vitest';
import type { CredentialSource } from '#core/domain/manifest.ts';
import type { EngineRequest } from '#core/engine/port.ts';
import {
  signTokenRequest,
  TOKEN_PATH,
  type SignedTokenRequest,
  type TokenRequest,
} from '#core/identity/token-request.ts';
import { databaseNow } from '#core/store/clock.ts';
import { keepToken } from '../../workers/steps/token-file.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

const PUBLIC_URL = 'https://plumb.example.com';
const role = (name: string) => `arn:aws:iam::123456789012:role/${name}`;
const byToken = (name: string): CredentialSource => ({ oidc: { aws: { role: role(name), region: 'eu-west-1' } } });
const CREDENTIALS = { plan: byToken('look'), apply: byToken('ops') };
const PROGRAM = { resources: { a: { size: 1 } } };

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

interface Found {
  environment: Record<string, string>;
  token: string;
  mode: number;
}

/** What a program would find in its run. */
async function look(request: EngineRequest): Promise<Found> {
  const file = request.environment['AWS_WEB_IDENTITY_TOKEN_FILE'] ?? '';
  expect(request.readOnlyDirs).toContain(dirname(file));
  return {
    environment: request.environment,
    token: await readFile(file, 'utf8'),
    mode: (await stat(file)).mode & 0o777,
  };
}

/** Notes what the programs of plan and apply find. */
function watchPrograms(): { plan?: Found; apply?: Found; drift?: Found } {
  const { engine } = plumbline;
  const { preview, apply, drift } = engine;
  const found: { plan?: Found; apply?: Found; drift?: Found } = {};
  engine.preview = async (request) => {
    found.plan = await look(request);
    request.onOutput(`the program prints ${found.plan.token}\n`);
    return await preview(request);
  };
  engine.apply = async (request) => {
    found.apply = await look(request);
    return await apply(request);
  };
  engine.drift = async (request) => {
    found.drift = await look(request);
    return await drift(request);
  };
  return found;
}

/** What a cloud does with a token that it is shown. */
async function verifyAsCloud(token = '') {
  const keys = createRemoteJWKSet(new URL(`${plumbline.url}/.well-known/jwks.json`));
  const { payload } = await jwtVerify(token, keys, {
    issuer: PUBLIC_URL,
    audience: 'sts.amazonaws.com',
    algorithms: ['RS256'],
  });
  return payload;
}

describe('a stack with logins by tokens', () => {
  it('gets one for each phase, which a cloud verifies by the published keys, and nobody else sees', async () => {
    plumbline = await startTestPlumbline({ config: { PLUMBLINE_PUBLIC_URL: PUBLIC_URL } });
    const found = watchPrograms();
    const digest = await plumbline.push(PROGRAM);
    await plumbline.stack('shop', { credentials: CREDENTIALS });
    const run = await plumbline.applied('shop');

    const { tenant } = plumbline;
    for (const phase of ['plan', 'apply'] as const) {
      const payload = await verifyAsCloud(found[phase]?.token);
      expect(payload).toMatchObject({
        sub: `tenant:${tenant}:stack:shop:op:${phase}`,
        aud: 'sts.amazonaws.com',
        tenant,
        stack: 'shop',
        op: phase,
        run: run.number,
        digest,
      });
      expect(Number(payload.exp) - Number(payload.iat)).toBe(600);
      expect(found[phase]?.mode).toBe(0o600);
      expect(found[phase]?.environment).toMatchObject({
        AWS_ROLE_ARN: role(phase === 'plan' ? 'look' : 'ops'),
        AWS_ROLE_SESSION_NAME: `plumbline-${tenant}-shop-${run.number}-${phase}`,
        AWS_REGION: 'eu-west-1',
      });
    }
    // A drift check looks with the identity of plan, under its own lease.
    await plumbline.driftCheck('shop');
    expect(await verifyAsCloud(found.drift?.token)).toMatchObject({ op: 'plan', run: run.number + 1 });
    // Who it is for is bound and kept, and the token is gone with its run.
    const { plan } = await plumbline.run('shop', run.number);
    expect(plan?.bound['principals']).toEqual({
      plan: `aws 123456789012 ${role('look')} eu-west-1`,
      apply: `aws 123456789012 ${role('ops')} eu-west-1`,
    });
    const row = await plumbline.database.db.selectFrom('stacks').select('applied_principal').executeTakeFirstOrThrow();
    expect(row.applied_principal).toBe(`aws 123456789012 ${role('ops')} eu-west-1`);
    await plumbline.until('the folders of the runs to be gone', async () => {
      const left = await readdir(join(plumbline.deps.config.dataDir, 'runs'));
      return left.length === 0 ? true : undefined;
    });
    const minted = (await plumbline.events('shop')).filter((event) => event.type === 'IdentityMinted');
    expect(new Set(minted.map((event) => event.data['op']))).toEqual(new Set(['plan', 'apply']));
    expect(minted).toHaveLength(3);
    const rows = await plumbline.database.db.selectFrom('run_logs').select('text').execute();
    expect(rows.map((line) => line.text).join('')).toContain('the program prints [secret]');
    const everything = JSON.stringify([minted, rows, plumbline.log, plan]);
    expect(everything).not.toContain(found.plan?.token);
    expect(everything).not.toContain(found.apply?.token.split('.')[2]);
  });

  it('shows on every approval that plan and apply are one', async () => {
    plumbline = await startTestPlumbline({ config: { PLUMBLINE_PUBLIC_URL: PUBLIC_URL } });
    await plumbline.push(PROGRAM);
    await plumbline.stack('shop', { credentials: { plan: byToken('ops'), apply: byToken('ops') } });
    const run = await plumbline.untilRun('shop', ['awaiting_approval']);
    const needs = await plumbline.database.db
      .selectFrom('runs')
      .select('needs')
      .where('number', '=', run.number)
      .executeTakeFirstOrThrow();
    expect(needs.needs).toContain('plan and apply share one credential');
  });

  it('is not run while the service does not answer, and says so', async () => {
    const config = { PLUMBLINE_PUBLIC_URL: PUBLIC_URL, PLUMBLINE_SERVICE_URL: 'http://127.0.0.1:1' };
    plumbline = await startTestPlumbline({ config });
    await plumbline.push(PROGRAM);
    await plumbline.stack('shop', { credentials: CREDENTIALS });
    const run = await plumbline.untilRun('shop', ['errored']);
    expect(run).toMatchObject({ reason: 'IdentityFailed', message: expect.stringContaining('PLUMBLINE_SERVICE_URL') });
    expect(plumbline.engine.calls.preview).toBe(0);
  });

  it('is refused where no tokens are minted, and so is every question', async () => {
    plumbline = await startTestPlumbline({ workers: false });
    await expect(plumbline.stack('shop', { credentials: CREDENTIALS })).rejects.toThrow(/422.*PLUMBLINE_PUBLIC_URL/);
    for (const path of ['openid-configuration', 'jwks.json']) {
      const answer = await plumbline.api<{ detail: string }>('GET', `/.well-known/${path}`, undefined, '');
      expect(answer).toMatchObject({ status: 404, body: { detail: expect.stringContaining('PLUMBLINE_PUBLIC_URL') } });
    }
  });
});

describe('a request for a token', () => {
  const wishOf = async (): Promise<Omit<TokenRequest, 'time' | 'nonce'>> => {
    const lease = await plumbline.database.db
      .selectFrom('leases')
      .selectAll()
      .where('worker_id', '<>', '')
      .executeTakeFirstOrThrow();
    const run = await plumbline.database.db
      .selectFrom('runs')
      .select('id')
      .where('stack_id', '=', lease.stack_id)
      .orderBy('number', 'desc')
      .executeTakeFirstOrThrow();
    const { stack_id: stackId, lane, fence, worker_id: workerId } = lease;
    return { stackId, lane, fence, workerId, runId: run.id, phase: 'plan' };
  };
  const post = async (body: SignedTokenRequest | object) => (await plumbline.api('POST', TOKEN_PATH, body, '')).status;
  const now = (shiftMs = 0) => databaseNow(plumbline.database.db).then((date) => new Date(date.getTime() + shiftMs));
  const key = () => plumbline.deps.masterKey;

  /** Does something while a plan is under way, and ends it. */
  async function duringPlan(act: (wish: Omit<TokenRequest, 'time' | 'nonce'>) => Promise<void>): Promise<void> {
    plumbline = await startTestPlumbline({ config: { PLUMBLINE_PUBLIC_URL: PUBLIC_URL } });
    let result: Promise<void> | undefined;
    plumbline.engine.hooks.preview = async () => {
      result ??= wishOf().then(act);
      await result.catch(() => undefined);
    };
    await plumbline.push(PROGRAM);
    await plumbline.stack('shop', { credentials: CREDENTIALS });
    await plumbline.untilRun('shop', ['awaiting_approval', 'errored']);
    if (result === undefined) throw new Error('nothing was planned');
    await result;
  }

  it('is answered once, only with the master key, only fresh, and only for what the lease says', async () => {
    await duringPlan(async (wish) => {
      const good = signTokenRequest(key(), wish, await now());
      expect(await post(good)).toBe(200);
      expect(await post(good)).toBe(401);

      const foreign = { master: createSecretKey(randomBytes(32)) };
      expect(await post(signTokenRequest(foreign, wish, await now()))).toBe(401);
      const { request, signature } = signTokenRequest(key(), wish, await now());
      expect(await post({ request: { ...request, phase: 'apply' }, signature })).toBe(401);
      expect(await post({ request, signature, audience: 'sts.amazonaws.com' })).toBe(422);
      expect(await post(signTokenRequest(key(), wish, await now(-61_000)))).toBe(401);
      expect(await post(signTokenRequest(key(), wish, await now(61_000)))).toBe(401);
      // A clock that is a little off is none of ours to refuse.
      expect(await post(signTokenRequest(key(), wish, await now(-45_000)))).toBe(200);

      const refused: [number, Partial<TokenRequest>][] = [
        [403, { phase: 'apply' }],
        [409, { fence: wish.fence + 1 }],
        [409, { workerId: 'another' }],
        [409, { lane: 'drift' }],
        [409, { runId: '999999999' }],
        [409, { stackId: '999999999' }],
      ];
      for (const [status, change] of refused)
        expect([change, await post(signTokenRequest(key(), { ...wish, ...change }, await now()))]).toEqual([
          change,
          status,
        ]);
    });
    const minted = (await plumbline.events('shop')).filter((event) => event.type === 'IdentityMinted');
    expect(minted).toHaveLength(1);
  });

  it('is refused after so many in a minute, and of a worker that lost its lease', async () => {
    await duringPlan(async (wish) => {
      const answers = [];
      for (let count = 0; count < 14; count += 1) answers.push(await post(signTokenRequest(key(), wish, await now())));
      expect(answers.filter((status) => status === 200)).toHaveLength(11);
      expect(answers.slice(-3)).toEqual([503, 503, 503]);
      const { db } = plumbline.database;
      await db
        .updateTable('leases')
        .set({ expires_at: new Date(0) })
        .where('stack_id', '=', wish.stackId)
        .execute();
      expect(await post(signTokenRequest(key(), wish, await now()))).toBe(409);
    });
  });

  it('is made again while the run goes on, and no more when it has ended', async () => {
    await duringPlan(async ({ phase, runId, workerId, ...lease }) => {
      const dir = await mkdtemp(join(plumbline.deps.config.dataDir, 'renewed-'));
      const [ending, held] = [new AbortController(), new AbortController()];
      const workspace = { identityDir: dir, ended: ending.signal };
      const deps = { ...plumbline.deps, identity: { ...plumbline.deps.identity, id: workerId } };
      const file = await keepToken(deps, { lease: { ...lease, signal: held.signal }, runId, phase, workspace }, 200);
      const first = await readFile(file, 'utf8');
      const fresh = await plumbline.until('another token', async () => {
        const text = await readFile(file, 'utf8');
        return text === first ? undefined : text;
      });
      expect((await verifyAsCloud(fresh)).jti).not.toBe((await verifyAsCloud(first)).jti);
      ending.abort();
      const minted = async () =>
        (await plumbline.database.db.selectFrom('identity_tokens').select('jti').execute()).length;
      await delay(300);
      const before = await minted();
      await delay(600);
      expect(await minted()).toBe(before);
    });
  });

  it('for the run of another stack, under a lease of one’s own, is refused', async () => {
    await duringPlan(async (wish) => {
      const { db } = plumbline.database;
      const own = await db.selectFrom('runs').selectAll().where('id', '=', wish.runId).executeTakeFirstOrThrow();
      await plumbline.stack('other', {
        source: { repository: `oci://${plumbline.registryHost}/infra/none`, ref: { tag: 'x' } },
        credentials: CREDENTIALS,
      });
      const foreign = await db
        .insertInto('runs')
        .values({
          tenant: own.tenant,
          stack_id: await plumbline.stackId('other'),
          number: 1,
          operation: 'update',
          trigger: 'manual',
          state: 'approved',
          revision: own.revision,
          digest: own.digest,
          generation: 1,
          spec: JSON.stringify(own.spec),
          targets: '[]',
          needs: '[]',
          requested_by: 'test',
        })
        .returning('id')
        .executeTakeFirstOrThrow();
      const wishes: Partial<TokenRequest>[] = [{ runId: foreign.id }, { runId: foreign.id, phase: 'apply' }];
      for (const change of wishes)
        expect(await post(signTokenRequest(key(), { ...wish, ...change }, await now()))).toBe(409);
    });
  });
});

describe('an identity that is made of keys', () => {
  const KEYS = { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE', AWS_SECRET_ACCESS_KEY: 'canary-of-the-secret-key' };

  it('is no plan’s when AWS does not say whose they are', async () => {
    plumbline = await startTestPlumbline();
    await plumbline.secret('deploy', KEYS);
    await plumbline.push(PROGRAM);
    await plumbline.stack('shop', { credentials: { apply: 'deploy' }, retry: { interval: '1s', max: 0 } });
    const run = await plumbline.untilRun('shop', ['errored']);
    expect(run).toMatchObject({ reason: 'IdentityFailed', message: expect.stringContaining('AWS could not be asked') });
    expect(plumbline.engine.calls.preview).toBe(0);
    expect(JSON.stringify([plumbline.log, await plumbline.events('shop'), run])).not.toContain(
      KEYS.AWS_SECRET_ACCESS_KEY,
    );
  });

  it('that are not those of AWS costs no question, as no credentials do', async () => {
    // Every question to a cloud of this harness fails.
    plumbline = await startTestPlumbline();
    await plumbline.secret('store', { ...KEYS, AWS_ENDPOINT_URL: 'http://minio.example.com:9000' });
    await plumbline.push(PROGRAM);
    await plumbline.push(PROGRAM, 'prod', 'bare');
    await plumbline.stack('shop', { credentials: { plan: 'store', apply: 'store' } });
    await plumbline.stack('bare', { pulumi: { stack: 'bare' } });
    const run = await plumbline.applied('shop');
    await plumbline.applied('bare');
    expect((await plumbline.run('shop', run.number)).plan?.bound['principals']).toEqual({});
  });
});
