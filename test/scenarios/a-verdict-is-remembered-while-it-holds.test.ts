import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { parseRepository } from '#core/domain/reference.ts';
import { contentOf } from '#core/oci/content.ts';
import { digestOf } from '#core/oci/digest.ts';
import { createKeyPair } from '#core/oci/sign-key.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_MANIFEST } from '#core/oci/media-types.ts';
import { BUNDLE_TYPE } from '#core/oci/verify/bundle.ts';
import { statement } from '#core/oci/verify/cosign.fixture.ts';
import { createSigstore } from '#core/oci/verify/keyless.fixture.ts';
import { checkSignatures } from '../../workers/trust.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

const signal = AbortSignal.timeout(30_000);

async function attach(digest: string, bundle: unknown): Promise<void> {
  const registry = plumbline.deps.registry(undefined);
  const repository = parseRepository(`oci://${plumbline.registryHost}/infra/shop`);
  const { mediaType, size } = await registry.resolve(repository, digest, signal);
  const config = contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
  const layer = contentOf(Buffer.from(JSON.stringify(bundle)), BUNDLE_TYPE);
  for (const content of [config, layer]) await registry.pushBlob(repository, content, signal);
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: BUNDLE_TYPE,
    config: config.descriptor,
    layers: [layer.descriptor],
    subject: { mediaType, digest, size },
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  await registry.pushManifest(repository, digestOf(bytes), { bytes, mediaType: OCI_MANIFEST }, signal);
}

it('a verdict by a root of trust is forgotten when the worker is given another root', async () => {
  plumbline = await startTestPlumbline({ signatures: 'required', workers: false });
  const [before, after] = [await createSigstore(), await createSigstore()];
  const file = join(plumbline.deps.config.dataDir, 'trusted_root.json');
  const deps = { ...plumbline.deps, config: { ...plumbline.deps.config, PLUMBLINE_SIGSTORE_TRUSTED_ROOT: file } };
  const digest = await plumbline.push({ resources: { web: { size: 1 } } });
  await attach(digest, await before.bundle(statement({ digest })));
  const identity = { issuerPattern: '.*', subjectPattern: '.*' };
  const spec = {
    source: {
      repository: `oci://${plumbline.registryHost}/infra/shop`,
      ref: { tag: 'prod' },
      verify: { cosign: { identities: [identity] } },
    },
    pulumi: { stack: 'prod' },
  };
  const check = async () =>
    await checkSignatures(deps, { tenant: plumbline.tenant, digest, spec, policyOf: spec }, signal);
  await writeFile(file, JSON.stringify(before.root));
  expect(await check()).toMatchObject({ state: 'verified', message: 'verified now' });
  expect(await check()).toMatchObject({ state: 'verified', message: 'verified before' });
  await writeFile(file, JSON.stringify(after.root));
  expect(await check()).toMatchObject({ state: 'refused' });
});

it('a registry that never gets to the end of what is attached keeps no worker', async () => {
  plumbline = await startTestPlumbline({ signatures: 'required', workers: false });
  await plumbline.secret('release-key', { 'cosign.pub': (await createKeyPair()).publicKey });
  const digest = await plumbline.push({ resources: { web: { size: 1 } } });
  const { deps } = plumbline;
  const dripping = (...given: Parameters<typeof deps.registry>) => ({
    ...deps.registry(...given),
    async referrers(_: unknown, __: unknown, ___: unknown, aborted: AbortSignal): Promise<never> {
      await new Promise((resolve) => aborted.addEventListener('abort', resolve));
      throw aborted.reason;
    },
  });
  const spec = {
    source: {
      repository: `oci://${plumbline.registryHost}/infra/shop`,
      ref: { tag: 'prod' },
      verify: { cosign: { keys: ['release-key'] } },
    },
    pulumi: { stack: 'prod' },
  };
  const suspect = { tenant: plumbline.tenant, digest, spec, policyOf: spec };
  const slow = { ...deps, registry: dripping };
  await expect(checkSignatures(slow, suspect, signal, 200)).rejects.toMatchObject({
    kind: 'transient',
    reason: 'SourceUnreachable',
    message: expect.stringContaining(digest),
  });
});
