import { afterEach, describe, expect, it } from 'vitest';
import type { StackSpec } from '#core/domain/manifest.ts';
import { parseRepository } from '#core/domain/reference.ts';
import { digestOf } from '#core/oci/digest.ts';
import { OCI_INDEX } from '#core/oci/media-types.ts';
import { createKeyPair } from '#core/oci/sign-key.ts';
import { createToken } from '#core/store/tokens.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

const release = await createKeyPair();
const stranger = await createKeyPair();
const program = { resources: { web: { size: 1 } } };

function source(change: Partial<StackSpec['source']> = {}) {
  return {
    repository: `oci://${plumbline.registryHost}/infra/shop`,
    ref: { tag: 'prod' },
    interval: '1h',
    ...change,
  };
}

async function start() {
  plumbline = await startTestPlumbline({ signatures: 'required' });
  await plumbline.secret('release-key', { 'cosign.pub': release.publicKey });
}

const byRelease = { cosign: { keys: ['release-key'] } };

async function stack(verify: StackSpec['source']['verify'], mode: 'auto' | 'manual' = 'auto') {
  await plumbline.stack('shop', { source: source(verify && { verify }), approval: { mode } });
}

/** Of an administrator bound to no tenant. */
async function installationToken() {
  const wanted = { tenant: null, name: 'root', role: 'admin', expiresAt: null, by: 'test' } as const;
  return (await createToken(plumbline.database.db, wanted)).token;
}

const told = async (type: string) => (await plumbline.events('shop')).filter((event) => event.type === type);

describe('in a tenant that requires signatures', () => {
  it('nothing runs while nobody says whose signatures count, and the reason says what to write', async () => {
    await start();
    await plumbline.push(program);
    await stack(undefined);
    const stalled = await plumbline.untilCondition('shop', 'Stalled', 'PolicyUnset');
    expect(stalled.message).toContain('spec.source.verify');
    expect(await plumbline.runs('shop')).toEqual([]);
    expect(plumbline.engine.calls.preview).toBe(0);
  });

  it('a signature that comes late is waited for, and taken as soon as it is pushed', async () => {
    await start();
    const digest = await plumbline.push(program);
    await stack(byRelease);
    const waiting = await plumbline.untilCondition('shop', 'SourceVerified', 'SignatureMissing');
    expect(waiting.status).toBe('False');
    expect((await plumbline.condition('shop', 'Ready'))?.message).toContain('waits for a signature');
    expect(await plumbline.runs('shop')).toEqual([]);

    await plumbline.sign(digest, release.privateKey);
    const run = await plumbline.untilRun('shop', ['applied']);
    expect(run.signed).toBe('signed by key release-key');
    expect(await plumbline.condition('shop', 'SourceVerified')).toMatchObject({ status: 'True', reason: 'Verified' });
    expect(await told('SourceVerified')).toHaveLength(1);
    expect(await told('VerificationFailed')).toHaveLength(1);
  });

  it('a signature that never comes stalls the stack with the reason, and a later one mends it', async () => {
    await start();
    const digest = await plumbline.push(program);
    await stack({ ...byRelease, wait: '1s' });
    const stalled = await plumbline.untilCondition('shop', 'Stalled', 'SignatureMissing');
    expect(stalled.message).toMatch(/prod@sha256:.* is not run/);
    await plumbline.sign(digest, release.privateKey);
    await plumbline.untilRun('shop', ['applied']);
    expect(await plumbline.condition('shop', 'Stalled')).toBeUndefined();
  });

  it('a signature by somebody else does not count', async () => {
    await start();
    const digest = await plumbline.push(program);
    await plumbline.sign(digest, stranger.privateKey);
    await stack({ ...byRelease, wait: '1s' });
    await plumbline.untilCondition('shop', 'Stalled', 'SignatureInvalid');
    expect(await plumbline.runs('shop')).toEqual([]);
    expect(plumbline.engine.calls.preview).toBe(0);
  });

  it('a newer revision nobody signed leaves the applied one as it is', async () => {
    await start();
    const first = await plumbline.push(program);
    await plumbline.sign(first, release.privateKey);
    await stack(byRelease);
    await plumbline.untilRun('shop', ['applied']);
    await plumbline.push({ resources: { web: { size: 666 } } });
    await plumbline.untilCondition('shop', 'SourceVerified', 'SignatureMissing');
    expect((await plumbline.runs('shop')).filter(({ operation }) => operation === 'update')).toHaveLength(1);
    expect(plumbline.engine.only().world).toEqual({ web: { size: 1 } });

    await plumbline.moveTag(first, 'prod');
    await plumbline.untilCondition('shop', 'Ready', 'Applied');
  });

  it('the policy of the tenant counts where the stack has none', async () => {
    await start();
    const digest = await plumbline.push(program);
    await plumbline.sign(digest, release.privateKey);
    const admin = await installationToken();
    const manifest = {
      apiVersion: 'plumbline.dev/v1alpha1',
      kind: 'Tenant',
      metadata: { name: plumbline.tenant },
      spec: { verify: byRelease },
    };
    await stack(undefined);
    await plumbline.untilCondition('shop', 'Stalled', 'PolicyUnset');
    expect((await plumbline.api('POST', '/v1/apply', { manifests: [manifest] }, admin)).status).toBe(200);
    expect((await plumbline.untilRun('shop', ['applied'])).signed).toBe('signed by key release-key');
  });
});

describe('a key that is taken away', () => {
  it('between approval and apply makes the approval void, and nothing is changed', async () => {
    await start();
    const digest = await plumbline.push(program);
    await plumbline.sign(digest, release.privateKey);
    await stack(byRelease, 'manual');
    const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
    // When the worker has taken the approved run up and has not compared anything yet.
    const { dependencies } = plumbline.deps;
    plumbline.deps.dependencies = async (request) => {
      plumbline.deps.dependencies = dependencies;
      await plumbline.secret('release-key', { 'cosign.pub': stranger.publicKey });
      return await dependencies(request);
    };
    await plumbline.approve('shop', waiting);
    const stale = await plumbline.untilRun('shop', ['stale'], waiting.number - 1);
    expect(stale.message).toContain('the signatures no longer meet the policy');
    await plumbline.untilCondition('shop', 'SourceVerified', 'SignatureInvalid');
    expect(plumbline.engine.calls.apply).toBe(0);
  });
});

it('a policy that changes while a run is made ends the run and waits for a signature that meets it', async () => {
  await start();
  const digest = await plumbline.push(program);
  await plumbline.sign(digest, release.privateKey);
  // Between the look that let the revision through and the run's own.
  let looks = 0;
  const { registry } = plumbline.deps;
  plumbline.deps.registry = (credentials) => {
    const real = registry(credentials);
    return {
      ...real,
      referrers: async (...at) => {
        const found = await real.referrers(...at);
        if ((looks += 1) === 1) await plumbline.secret('release-key', { 'cosign.pub': stranger.publicKey });
        return found;
      },
    };
  };
  await stack(byRelease);
  await plumbline.untilCondition('shop', 'SourceVerified', 'SignatureInvalid');
  expect(plumbline.engine.calls.preview).toBe(0);
  await plumbline.sign(digest, stranger.privateKey);
  await plumbline.untilRun('shop', ['applied']);
});

it('answers about an interrupted run are carried out with no plugin of an artifact that is not trusted any more', async () => {
  await start();
  const digest = await plumbline.push(program);
  await plumbline.sign(digest, release.privateKey);
  await stack(byRelease);
  await plumbline.untilRun('shop', ['applied']);
  const urn = 'urn:pulumi:prod::shop::test:index:Thing::web';
  const left = {
    pending_operations: JSON.stringify([{ urn, type: 'test:index:Thing', operation: 'creating' }]),
    pending_answers: JSON.stringify([{ urn, answer: 'clear', by: 'somebody' }]),
  };
  await plumbline.database.db.updateTable('stacks').set(left).execute();
  await plumbline.secret('release-key', { 'cosign.pub': stranger.publicKey });
  const stalled = await plumbline.untilCondition('shop', 'Stalled', 'SignatureInvalid');
  expect(stalled.message).toContain(digest);
  expect(plumbline.engine.calls.refresh).toBe(0);
  await plumbline.sign(digest, stranger.privateKey);
  await plumbline.post('shop', 'reconcile');
  await plumbline.untilEvent('shop', 'PendingAnswered');
});

it('an index that nobody signed does not bring an earlier revision back as a new one', async () => {
  await start();
  const signedPush = async (size: number) => {
    const digest = await plumbline.push({ resources: { web: { size } } });
    await plumbline.sign(digest, release.privateKey);
    return digest;
  };
  const first = await signedPush(1);
  await stack(byRelease);
  await plumbline.untilRun('shop', ['applied']);
  await signedPush(2);
  await plumbline.untilRun('shop', ['applied'], 1);

  const registry = plumbline.deps.registry(undefined);
  const repository = parseRepository(`oci://${plumbline.registryHost}/infra/shop`);
  const signal = AbortSignal.timeout(10_000);
  const manifests = [await registry.resolve(repository, first, signal)];
  for (const round of [1, 2]) {
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests, annotations: { round: String(round) } };
    const bytes = Buffer.from(JSON.stringify(index));
    await registry.pushManifest(repository, 'prod', { bytes, mediaType: OCI_INDEX }, signal);
    const refused = await plumbline.until('the refusal', async () =>
      (await plumbline.events('shop')).find(
        ({ type, data }) => type === 'VerificationFailed' && data['digest'] === digestOf(bytes),
      ),
    );
    expect(refused.message).toContain('earlier revision');
  }
  expect(plumbline.engine.only().world).toEqual({ web: { size: 2 } });
});

describe('an exception', () => {
  const reason = 'sandbox of the platform team';

  it('runs, and is visible in the condition, the list, the run, the event and the metrics', async () => {
    await start();
    await plumbline.push(program);
    await stack({ unsigned: { reason } }, 'manual');
    const run = await plumbline.untilRun('shop', ['awaiting_approval']);
    expect(run.signed).toBe(`UNSIGNED: ${reason} (stack)`);
    expect(run.needs).toContain('nobody signed what is applied');
    expect(await plumbline.condition('shop', 'SourceVerified')).toMatchObject({ status: 'False', reason: 'Unsigned' });
    const view = await plumbline.view('shop');
    expect(view.status.verification).toMatchObject({ state: 'unsigned', signers: [] });
    expect(await told('SourceVerified')).toMatchObject([{ severity: 'warning', reason: 'Unsigned' }]);
    const admin = await installationToken();
    const metrics = await fetch(`${plumbline.url}/metrics`, { headers: { authorization: `Bearer ${admin}` } });
    expect(await metrics.text()).toContain(`plumbline_unsigned_stacks{tenant="${plumbline.tenant}"} 1`);
  });

  it('that ends stops the stack at the next revision', async () => {
    await start();
    await plumbline.push(program);
    await stack({ unsigned: { reason } });
    await plumbline.untilRun('shop', ['applied']);
    await stack(byRelease);
    await plumbline.untilCondition('shop', 'SourceVerified', 'SignatureMissing');
    expect(plumbline.engine.calls.apply).toBe(1);
  });
});
