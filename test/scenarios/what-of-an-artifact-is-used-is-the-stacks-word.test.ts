import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Source } from '#core/domain/manifest.ts';
import { OCI_IMAGE_CONFIG, OCI_TAR_GZIP } from '#core/oci/media-types.ts';
import { makeTar, type TarItem } from '#core/oci/test-tar.ts';
import { pushRaw, sourceOf } from '../harness/bad-source.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';
import { imageManifest, pushBlob } from '../harness/raw-registry.ts';

let plumbline: TestPlumbline;
let stacks = 0;
beforeAll(async () => void (plumbline = await startTestPlumbline()));
afterAll(() => plumbline.close());

const PROJECT = 'name: shop\nruntime: nodejs\n';
const fake = (name: string) => JSON.stringify({ resources: { [name]: { size: 1 } } });
const files = {
  'Pulumi.yaml': PROJECT,
  'program.json': fake('root'),
  'infra/Pulumi.yaml': PROJECT,
  'infra/program.json': fake('infra'),
};

/** A stack of its own repository with this change of its source. */
async function follow(name: string, source: Partial<Source>): Promise<void> {
  await plumbline.stack(name, {
    source: {
      repository: `oci://${plumbline.registryHost}/infra/${name}`,
      ref: { tag: 'prod' },
      interval: '1h',
      ...source,
    },
    approval: { mode: 'auto' },
    pulumi: { stack: name },
  });
}

async function newStack(source: Partial<Source>, content: Record<string, string> = files): Promise<string> {
  const name = `part-${(stacks += 1)}`;
  await plumbline.push(content, 'prod', name);
  await follow(name, source);
  return name;
}

/** Pushes an image, a layer an array of entries. */
async function pushImage(name: string, layers: TarItem[][]): Promise<void> {
  const source = sourceOf(plumbline, name);
  const config = await pushBlob(source.base, '{}', OCI_IMAGE_CONFIG);
  const blobs = [];
  for (const layer of layers) blobs.push(await pushBlob(source.base, gzipSync(await makeTar(layer)), OCI_TAR_GZIP));
  await pushRaw(source, imageManifest({ config, layers: blobs }));
}

const madeOf = async (name: string) => {
  const run = await plumbline.untilRun(name, ['applied']);
  return (await plumbline.run(name, run.number)).plan?.changes.map((change) => change.name);
};

it('spec.source.path names the folder of the program', async () => {
  expect(await madeOf(await newStack({ path: 'infra' }))).toEqual(['infra']);
});

it('spec.source.ignore leaves out what is not to be run, and a change of it is a new plan', async () => {
  const name = await newStack({ ignore: '/infra' });
  expect(await madeOf(name)).toEqual(['root']);
  await follow(name, { path: 'infra' });
  await plumbline.untilRun(name, ['applied'], 1);
});

it.each<[string, Partial<Source>, string]>([
  ['Pulumi.yaml', { ignore: '*.yaml' }, 'Pulumi.yaml of . is left out by spec.source.ignore'],
  ['the folder', { path: 'infra', ignore: 'infra/' }, 'Pulumi.yaml of infra is left out'],
])('a stack that leaves out %s says so', async (_, source, says) => {
  const { message } = await plumbline.untilCondition(await newStack(source), 'Stalled', 'SpecInvalid');
  expect(message).toContain(says);
});

it('patterns that would take for ever are refused: in a stack when it is applied, in an artifact when it is used', async () => {
  const ignore = '**/a/**/a/**/a/**/b';
  await expect(follow('slow', { ignore })).rejects.toThrow('spec/source/ignore');
  const name = `slow-${(stacks += 1)}`;
  const content = [
    { name: 'program/Pulumi.yaml', content: PROJECT },
    { name: 'program/.sourceignore', content: ignore },
  ];
  await pushImage(name, [content]);
  await follow(name, { imagePath: '/program' });
  const { message } = await plumbline.untilCondition(name, 'Stalled', 'SpecInvalid');
  expect(message).toContain('.sourceignore has the pattern');
});

it('an image is run from the folder the stack names, and from none unless it does', async () => {
  const name = `image-${(stacks += 1)}`;
  await pushImage(name, [
    [
      { name: 'bin/sh', content: 'x' },
      { name: 'program/Pulumi.yaml', content: PROJECT },
      { name: 'program/program.json', content: fake('old') },
    ],
    [{ name: 'program/program.json', content: fake('image') }],
  ]);
  await follow(name, {});
  const { message } = await plumbline.untilCondition(name, 'Stalled', 'ArtifactInvalid');
  expect(message).toContain('spec.source.imagePath');
  await follow(name, { imagePath: '/program' });
  expect(await madeOf(name)).toEqual(['image']);
});

it('links of a folder may not lead out of it, though they stay in the artifact', async () => {
  const name = `links-${(stacks += 1)}`;
  await pushImage(name, [
    [
      { name: 'etc/hostname', content: 'fake' },
      { name: 'a/b/c/d/e/f/g/h/Pulumi.yaml', type: 'symlink', linkname: '../../../../../../../../etc/hostname' },
      { name: 'a/ok/Pulumi.yaml', content: PROJECT },
      { name: 'link', type: 'symlink', linkname: 'a/ok' },
    ],
  ]);
  await follow(name, { imagePath: '/', path: 'a/b/c/d/e/f/g/h' });
  const { message } = await plumbline.untilCondition(name, 'Stalled', 'UnpackRefused');
  expect(message).toContain('a link that leads out of the folder');
  await follow(name, { imagePath: '/', path: 'link' });
  const found = await plumbline.untilCondition(name, 'Stalled', 'SpecInvalid');
  expect(found.message).toContain('goes through a link');
});

it('a tenant has caps of its own, below those of the worker', async () => {
  const apply = (artifacts: object) =>
    plumbline.database.db
      .updateTable('tenants')
      .set({ spec: JSON.stringify({ signatures: 'optional', artifacts }) })
      .where('name', '=', plumbline.tenant)
      .execute();
  await apply({ maxEntries: 3 });
  const name = await newStack({}, { ...files, 'not-in-the-cache-yet': '' });
  const { message } = await plumbline.untilCondition(name, 'Stalled', 'ArtifactTooLarge');
  expect(message).toContain('more than the allowed 3 files and folders');
  await apply({});
  await plumbline.post(name, 'reconcile');
  expect(await madeOf(name)).toEqual(['root']);
});
