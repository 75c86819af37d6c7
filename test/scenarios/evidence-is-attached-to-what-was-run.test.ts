import { afterEach, expect, it } from 'vitest';
import { parseRepository } from '#core/domain/reference.ts';
import { EVIDENCE_RUN, EVIDENCE_TYPE } from '#core/domain/evidence.ts';
import { attest } from '#core/oci/sign.ts';
import { createKeyPair, readSigningKey } from '#core/oci/sign-key.ts';
import { verifyAttestation } from '#core/oci/verify/attestation.ts';
import { attachEvidence } from '../../workers/evidence.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

const pair = await createKeyPair({ password: 'p4ssw0rd-of-the-key' });
const evidence = { key: 'evidence-key' };

async function applied(
  data: Record<string, string> = { 'cosign.key': pair.privateKey, password: 'p4ssw0rd-of-the-key' },
) {
  plumbline = await startTestPlumbline();
  await plumbline.secret('evidence-key', data);
  await plumbline.stack('shop', { evidence });
  const digest = await plumbline.push({ resources: { web: { size: 1 } } });
  const run = await plumbline.applied('shop');
  return { digest, run };
}

async function holds(digest: string, fields: { path: string; equals: string | number }[]) {
  const signedBy = {
    keys: [{ name: 'evidence', pem: pair.publicKey }],
    identities: [],
    trustedRoot: undefined,
    requireLog: false,
  };
  return await verifyAttestation(
    {
      source: plumbline.deps.registry(undefined),
      repository: parseRepository(`oci://${plumbline.registryHost}/infra/shop`),
      digest,
      now: new Date(),
      signal: AbortSignal.timeout(10_000),
    },
    { type: 'custom', predicateType: EVIDENCE_TYPE, signedBy, fields },
  );
}

it('plan, approval and result are attached once, signed, and say what was approved by whom', async () => {
  const { digest, run } = await applied();
  await Promise.all([attachEvidence(plumbline.deps), attachEvidence(plumbline.secondWorker())]);
  await attachEvidence(plumbline.deps);
  expect(await plumbline.attached(digest)).toHaveLength(1);
  const verdict = await holds(digest, [
    { path: 'run', equals: run.number },
    { path: 'plan.digest', equals: run.planDigest ?? '' },
    { path: 'result.state', equals: 'applied' },
    { path: 'revision', equals: run.revision },
  ]);
  expect(verdict.type).toBe('verified');
  expect((await holds(digest, [{ path: 'result.state', equals: 'errored' }])).type).toBe('refused');
  await plumbline.untilEvent('shop', 'EvidenceAttached');
});

it('a worker that dies after it attached attaches nothing twice', async () => {
  const { digest } = await applied();
  await attachEvidence(plumbline.deps);
  const forgotten = { evidence_digest: null, evidence_due_at: null, evidence_attempts: 1 };
  await plumbline.database.db.updateTable('runs').set(forgotten).execute();
  await attachEvidence(plumbline.deps);
  expect(await plumbline.attached(digest)).toHaveLength(1);
});

it('a worker that is slow over one run does not attach twice what another took over meanwhile', async () => {
  await applied();
  await plumbline.push({ resources: { web: { size: 2 } } });
  const { number } = await plumbline.applied('shop');
  const due = () =>
    plumbline.database.db
      .updateTable('runs')
      .set({ evidence_due_at: new Date(0) })
      .where('number', '=', number)
      .execute();
  let others: Promise<void> | undefined;
  const { registry } = plumbline.deps;
  const slow = {
    ...plumbline.deps,
    registry: (...given: Parameters<typeof registry>) => {
      const client = registry(...given);
      const pushManifest: typeof client.pushManifest = async (...pushed) => {
        others ??= due().then(async () => attachEvidence(plumbline.secondWorker()));
        await others;
        return await client.pushManifest(...pushed);
      };
      return { ...client, pushManifest };
    },
  };
  await attachEvidence(slow);
  const said = (await plumbline.events('shop')).filter(({ type }) => type === 'EvidenceAttached');
  const runs = said.map(({ message }) => message).toSorted();
  expect(runs).toEqual([...new Set(runs)]);
});

it('what a stranger attached under the name of a run does not pass for its evidence', async () => {
  const { digest, run } = await applied();
  await attest(
    plumbline.deps.registry(undefined),
    {
      repository: parseRepository(`oci://${plumbline.registryHost}/infra/shop`),
      digest,
      key: await readSigningKey((await createKeyPair()).privateKey),
      predicateType: EVIDENCE_TYPE,
      predicate: { result: { state: 'errored' } },
      manifestAnnotations: { [EVIDENCE_RUN]: `${plumbline.tenant}/shop/${run.number}` },
    },
    AbortSignal.timeout(10_000),
  );
  await plumbline.database.db.updateTable('runs').set({ evidence_attempts: 1 }).execute();
  await attachEvidence(plumbline.deps);
  expect((await holds(digest, [{ path: 'result.state', equals: 'applied' }])).type).toBe('verified');
});

it('a registry that refuses it holds nothing up; it is said once and attached later', async () => {
  const { digest } = await applied();
  await plumbline.registryAway(true);
  await attachEvidence(plumbline.deps);
  const failed = await plumbline.untilEvent('shop', 'EvidenceFailed');
  expect(failed.message).toContain('tried again');
  await plumbline.registryAway(false);
  await plumbline.database.db
    .updateTable('runs')
    .set({ evidence_due_at: new Date(0) })
    .execute();
  await attachEvidence(plumbline.deps);
  expect(await plumbline.attached(digest)).toHaveLength(1);
});

it('a key that is none is said without a word of it', async () => {
  const { digest } = await applied({
    'cosign.key': '-----BEGIN PRIVATE KEY-----\nc2VjcmV0LWtleS1tYXRlcmlhbA==\n-----END PRIVATE KEY-----\n',
  });
  await attachEvidence(plumbline.deps);
  const failed = await plumbline.untilEvent('shop', 'EvidenceFailed');
  expect(JSON.stringify(failed)).not.toContain('c2VjcmV0LWtleS1tYXRlcmlhbA');
  expect(plumbline.log.join('')).not.toContain('c2VjcmV0LWtleS1tYXRlcmlhbA');
  expect(await plumbline.attached(digest)).toHaveLength(0);
});

it('a stack that does not ask for it leaves the registry alone', async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop');
  const digest = await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.applied('shop');
  await attachEvidence(plumbline.deps);
  expect(await plumbline.attached(digest)).toHaveLength(0);
});
