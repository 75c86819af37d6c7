import { beforeEach, describe, expect, it } from 'vitest';
import { contentOf } from '../content.ts';
import { digestOf } from '../digest.ts';
import { createLayout } from '../layout.ts';
import {
  EMPTY_CONFIG,
  EMPTY_CONFIG_BYTES,
  OCI_INDEX,
  OCI_MANIFEST,
  PROGRAM_ARTIFACT,
  PROGRAM_LAYER,
} from '../media-types.ts';
import { attest, signArtifact } from '../sign.ts';
import { makeFolder } from '../test-tar.ts';
import { makeKeys, trusting } from './cosign.fixture.ts';
import type { AttestationRequirement } from './verdict.ts';
import { verifyArtifact, type TrustMaterial } from './verify.ts';

const repository = { host: 'registry.test', name: 'infra/shop' };
const release = makeKeys();
const review = makeKeys();
const byRelease = { cosign: trusting(release.pem), attestations: [] } satisfies TrustMaterial;

const signal = () => AbortSignal.timeout(10_000);
let layout: ReturnType<typeof createLayout>;
/** An index, and the one program it stands for. */
let index: string;
let program: string;

beforeEach(async () => {
  layout = createLayout(await makeFolder());
  const config = contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
  const layer = contentOf(Buffer.from('never fetched here'), PROGRAM_LAYER);
  await layout.pushBlob(repository, config, signal());
  await layout.pushBlob(repository, layer, signal());
  const put = async (mediaType: string, content: object) => {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...content }));
    return await layout.pushManifest(repository, digestOf(bytes), { bytes, mediaType }, signal());
  };
  const only = await put(OCI_MANIFEST, {
    artifactType: PROGRAM_ARTIFACT,
    config: config.descriptor,
    layers: [layer.descriptor],
  });
  program = only.digest;
  index = (await put(OCI_INDEX, { manifests: [only] })).digest;
});

const sign = (digest: string, keys = release) =>
  signArtifact(layout, { repository, digest, key: keys.privateKey }, signal());

async function judge(digest: string, material: TrustMaterial) {
  return await verifyArtifact({ source: layout, repository, digest, now: new Date(), signal: signal() }, material);
}

describe('an index of one program', () => {
  it('counts as signed when the index is, and the signer names its digest', async () => {
    await sign(index);
    expect(await judge(index, byRelease)).toMatchObject({ type: 'verified', signers: [{ digest: index }] });
  });

  it('counts as signed when the program in it is, and the signer names the digest of that', async () => {
    await sign(program);
    expect(await judge(index, byRelease)).toMatchObject({ type: 'verified', signers: [{ digest: program }] });
  });

  it('does not make the program in it signed', async () => {
    await sign(index);
    expect((await judge(program, byRelease)).type).toBe('missing');
  });

  it('is refused with what was found, wherever it was found', async () => {
    await sign(program, review);
    expect((await judge(index, byRelease)).type).toBe('refused');
  });
});

describe('a policy of several parts', () => {
  const reviewed: AttestationRequirement = {
    type: 'custom',
    predicateType: 'https://acme.example/review/v1',
    signedBy: trusting(review.pem),
    fields: [{ path: 'approved', equals: true }],
  };
  const both = { ...byRelease, attestations: [reviewed] };
  const attestReview = (approved: boolean) =>
    attest(
      layout,
      {
        repository,
        digest: program,
        key: review.privateKey,
        predicateType: 'https://acme.example/review/v1',
        predicate: { approved },
      },
      signal(),
    );

  it('is met only when every part is', async () => {
    await sign(program);
    expect((await judge(program, both)).type).toBe('missing');
    await attestReview(true);
    const verdict = await judge(program, both);
    expect(verdict.type === 'verified' && verdict.signers.map(({ statement }) => statement)).toEqual([
      expect.not.stringContaining('review'),
      expect.stringContaining('review'),
    ]);
  });

  it('is not met by an attestation that says otherwise, nor by one alone', async () => {
    await attestReview(true);
    expect((await judge(program, both)).type).not.toBe('verified');
    await sign(program);
    const strict = { ...both, attestations: [{ ...reviewed, fields: [{ path: 'approved', equals: false }] }] };
    expect((await judge(program, strict)).type).toBe('refused');
  });

  it('that names nobody is met by nothing', async () => {
    await sign(program);
    expect((await judge(program, { attestations: [] })).type).toBe('missing');
  });
});
