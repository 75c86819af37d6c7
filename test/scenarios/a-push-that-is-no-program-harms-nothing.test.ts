import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DOCKER_TAR_GZIP, EMPTY_CONFIG, OCI_IMAGE_CONFIG, OCI_INDEX, OCI_TAR_GZIP } from '#core/oci/media-types.ts';
import { makeTar, type TarItem } from '#core/oci/test-tar.ts';
import {
  moveTagOnDisk,
  openVictim,
  pushProgramLayer,
  pushRaw,
  sourceOf,
  spoil,
  type BadSource,
  type Complaint,
  type Victim,
} from '../harness/bad-source.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';
import { imageManifest, pushBlob, putManifest } from '../harness/raw-registry.ts';

const MIB = 1024 * 1024;
const HELM_CONFIG = 'application/vnd.cncf.helm.config.v1+json';
const HELM_CHART = 'application/vnd.cncf.helm.chart.content.v1.tar+gzip';

let plumbline: TestPlumbline;
let victim: Victim;
beforeAll(async () => {
  plumbline = await startTestPlumbline();
  victim = await openVictim(plumbline, 'shop');
});
afterAll(() => plumbline.close());

const expectRefused: Victim['refuses'] = (push, complaint) => victim.refuses(push, complaint);

const archive = async (...items: TarItem[]) => gzipSync(await makeTar(items));

/** Pushes an image with these types; its layers all hold one file. */
async function pushTypes(
  source: BadSource,
  types: { config: string; layers: string[]; artifactType?: string },
): Promise<string> {
  const { layers: layerTypes, config: configType, ...more } = types;
  const config = await pushBlob(source.base, '{}', configType);
  const layers = [];
  for (const type of layerTypes)
    layers.push(await pushBlob(source.base, await archive({ name: 'Chart.yaml', content: 'name: shop\n' }), type));
  return pushRaw(source, imageManifest({ config, layers, ...more }));
}

/** A program other than any before, pushed under a tag that nobody follows yet. */
let programs = 0;
async function pushAside(source: BadSource) {
  programs += 1;
  const files = [
    { name: 'Pulumi.yaml', content: 'name: shop\nruntime: nodejs\n' },
    { name: 'program.json', content: JSON.stringify({ resources: { evil: { size: programs } } }) },
  ];
  return pushProgramLayer(source, await archive(...files), 'aside');
}

describe('a push that is no Pulumi program is called what it is, with what to push instead:', () => {
  it.each<[string, (source: BadSource) => Promise<unknown>, Complaint]>([
    [
      'a Helm chart',
      (source) => pushTypes(source, { config: HELM_CONFIG, layers: [HELM_CHART] }),
      {
        reason: 'ArtifactInvalid',
        says: ['infra/shop@sha256:', 'is a Helm chart, not a Pulumi program', '`plumb push`'],
      },
    ],
    [
      'a container image',
      (source) => pushTypes(source, { config: OCI_IMAGE_CONFIG, layers: [DOCKER_TAR_GZIP, OCI_TAR_GZIP] }),
      {
        reason: 'ArtifactInvalid',
        says: ['is a container image of 2 layers', 'spec.source.imagePath', '`plumb push`'],
      },
    ],
    [
      'an artifact of an unknown kind',
      (source) =>
        pushTypes(source, {
          config: EMPTY_CONFIG,
          artifactType: 'application/vnd.acme.thing',
          layers: ['application/vnd.acme.layer'],
        }),
      {
        reason: 'ArtifactInvalid',
        says: ['a layer of type application/vnd.acme.layer, which is no archive of files', '`plumb push`'],
      },
    ],
    [
      'an index of nothing',
      (source) =>
        pushRaw(source, JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }), 'prod', OCI_INDEX),
      { reason: 'ArtifactInvalid', says: ['is an index of 0 manifests and a program is exactly one', '`plumb push`'] },
    ],
    [
      'an archive without a Pulumi.yaml',
      async (source) => pushProgramLayer(source, await archive({ name: 'README.md', content: 'hello' })),
      { reason: 'ProgramInvalid', says: ['no Pulumi.yaml at spec.source.path', 'push the folder of a Pulumi program'] },
    ],
    [
      'a program in a language nobody here speaks',
      async (source) =>
        pushProgramLayer(source, await archive({ name: 'Pulumi.yaml', content: 'name: shop\nruntime: cobol\n' })),
      { reason: 'ProgramInvalid', says: ['runtime "cobol" is not available here', 'nodejs and yaml'] },
    ],
    [
      'a Pulumi.yaml that is no YAML',
      async (source) => pushProgramLayer(source, await archive({ name: 'Pulumi.yaml', content: 'name: [shop\n' })),
      { reason: 'ProgramInvalid', says: ['Pulumi.yaml: is not valid YAML'] },
    ],
  ])('%s', async (_what, push, complaint) => {
    await expectRefused(push, complaint);
  });
});

describe('a registry that does not hold what it says is caught:', () => {
  it('a layer whose digest differs', async () => {
    const push = async (source: BadSource) => {
      const { manifest, layer } = await pushAside(source);
      await spoil(source, '_blobs', layer, (bytes) =>
        Buffer.concat([bytes.subarray(0, -1), Buffer.from([(bytes.at(-1) ?? 0) ^ 1])]),
      );
      await moveTagOnDisk(source, manifest);
    };
    const says = [
      /blob of 127\.0\.0\.1:\d+\/infra\/shop is not sha256:[0-9a-f]{64}/,
      /its bytes have the digest sha256:/,
      'check the registry, push it again, then `plumb reconcile`',
    ];
    await expectRefused(push, { reason: 'DigestMismatch', says });
  });

  it.each<[string, (bytes: Buffer) => Buffer, string]>([
    ['is shorter', (bytes) => bytes.subarray(0, -9), 'its descriptor says'],
    ['is longer', (bytes) => Buffer.concat([bytes, Buffer.alloc(9)]), 'its descriptor says'],
  ])('a layer that %s than its descriptor says', async (_what, change, says) => {
    const push = async (source: BadSource) => {
      const { manifest, layer } = await pushAside(source);
      await spoil(source, '_blobs', layer, change);
      await moveTagOnDisk(source, manifest);
    };
    await expectRefused(push, { reason: 'DigestMismatch', says: [says, 'check the registry'] });
  });

  it('a manifest whose digest differs', async () => {
    const push = async (source: BadSource) => {
      const { manifest } = await pushAside(source);
      await spoil(source, '_manifests', manifest, (bytes) => Buffer.concat([bytes, Buffer.from(' ')]));
      await moveTagOnDisk(source, manifest);
    };
    await expectRefused(push, {
      reason: 'DigestMismatch',
      says: ['the manifest of', 'infra/shop@sha256:', 'check the registry, push it again'],
    });
  });
});

it('a manifest that is too large is refused by our registry, and by the worker when another registry took it', async () => {
  const huge = (fields: object) => JSON.stringify({ ...fields, annotations: { padding: 'x'.repeat(4 * MIB) } });
  const push = async (source: BadSource) => {
    const refused = await putManifest(source.base, 'prod', huge({ schemaVersion: 2 }));
    expect(refused.status).toBe(413);
    expect(await refused.text()).toContain('a manifest holds at most 4194304 bytes');
    const { manifest } = await pushAside(source);
    await spoil(source, '_manifests', manifest, (bytes) => {
      const end = bytes.indexOf('\n') + 1;
      const fields: object = JSON.parse(bytes.subarray(end).toString());
      return Buffer.concat([bytes.subarray(0, end), Buffer.from(huge(fields))]);
    });
    await moveTagOnDisk(source, manifest);
  };
  const says = ['infra/shop@sha256:', 'more than the allowed 4194304', 'check what was pushed'];
  await expectRefused(push, { reason: 'ArtifactTooLarge', says });
});

it('a registry that is mended is believed again after `plumb reconcile`, with the same digest', async () => {
  await plumbline.stack('mended', { approval: { mode: 'auto' }, pulumi: { stack: 'mended' } });
  const source = sourceOf(plumbline, 'mended');
  const { manifest, layer } = await pushAside(source);
  const flip = (bytes: Buffer) => Buffer.from(bytes.map((byte) => byte ^ 1));
  await spoil(source, '_blobs', layer, flip);
  await moveTagOnDisk(source, manifest);
  await plumbline.untilCondition('mended', 'Stalled', 'DigestMismatch');
  await spoil(source, '_blobs', layer, flip);
  await plumbline.post('mended', 'reconcile');
  expect(await plumbline.untilRun('mended', ['applied'])).toMatchObject({ digest: manifest });
});
