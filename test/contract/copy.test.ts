import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { contentOf, readBlob } from '#core/oci/content.ts';
import { copyArtifact } from '#core/oci/copy.ts';
import { digestOf } from '#core/oci/digest.ts';
import { createLayout } from '#core/oci/layout.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_INDEX, OCI_MANIFEST } from '#core/oci/media-types.ts';
import type { Descriptor, Pusher, Repository, Source } from '#core/oci/port.ts';
import { referrersTag } from '#core/oci/referrers.ts';
import { createRegistryClient, type RegistryClient } from '#core/oci/registry-client.ts';
import { temporaryRegistry } from '../harness/temporary-registry.ts';
import { startWithoutReferrers } from '../harness/without-referrers.ts';

interface Place {
  place: Source & Pusher;
  repository: Repository;
}

const signal = () => AbortSignal.timeout(30_000);

async function pushJson({ place, repository }: Place, manifest: object, tag?: string): Promise<Descriptor> {
  const bytes = Buffer.from(JSON.stringify(manifest));
  const mediaType = 'manifests' in manifest ? OCI_INDEX : OCI_MANIFEST;
  return place.pushManifest(repository, tag ?? digestOf(bytes), { bytes, mediaType }, signal());
}

async function pushImage(at: Place, more: Record<string, unknown> = {}, tag?: string): Promise<Descriptor> {
  const layers: Descriptor[] = [];
  for (const bytes of [randomBytes(50), randomBytes(200_000)]) {
    const content = contentOf(bytes, 'application/octet-stream');
    await at.place.pushBlob(at.repository, content, signal());
    layers.push(content.descriptor);
  }
  const config = contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
  await at.place.pushBlob(at.repository, config, signal());
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: config.descriptor, layers, ...more };
  return pushJson(at, manifest, tag);
}

/** An index of two images; signed, the signature attested, one image with a bill of materials, and cosign's old tags. */
async function pushEverything(at: Place) {
  const images = [await pushImage(at), await pushImage(at)];
  const index = await pushJson(at, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: images }, '1.4.0');
  const signature = await pushImage(at, { subject: index, artifactType: 'x/signature' });
  const attestation = await pushImage(at, { subject: signature, artifactType: 'x/attestation' });
  const sbom = await pushImage(at, { subject: images[0], artifactType: 'x/sbom' });
  const legacy = await pushImage(at, {}, `${referrersTag(index.digest)}.sig`);
  return { index, images, signature, attestation, sbom, legacy };
}

async function assertComplete(at: Place, pushed: Awaited<ReturnType<typeof pushEverything>>): Promise<void> {
  const { index, images, signature, attestation, sbom, legacy } = pushed;
  const { place, repository } = at;
  const digestsOf = async (digest: string) =>
    (await place.referrers(repository, digest, {}, signal())).map((each) => each.digest);
  expect((await place.resolve(repository, '1.4.0', signal())).digest).toBe(index.digest);
  expect(await digestsOf(index.digest)).toEqual([signature.digest]);
  expect(await digestsOf(signature.digest)).toEqual([attestation.digest]);
  expect(await digestsOf(images[0]?.digest ?? '')).toEqual([sbom.digest]);
  const old = await place.resolve(repository, `${referrersTag(index.digest)}.sig`, signal());
  expect(old.digest).toBe(legacy.digest);
  for (const each of [index, ...images, signature, attestation, sbom, legacy]) {
    const bytes = await readBlob(place, repository, each, 1_000_000, signal());
    const manifest: { layers?: Descriptor[] } = JSON.parse(bytes.toString());
    for (const layer of manifest.layers ?? []) {
      expect(digestOf(await readBlob(place, repository, layer, 1_000_000, signal()))).toBe(layer.digest);
    }
  }
}

describe('copyArtifact', () => {
  const closers: (() => Promise<unknown>)[] = [];
  let scratch: string;
  let client: RegistryClient;
  let modern: Place;
  let old: Place;
  let layouts = 0;
  const newLayout = (): Place => ({
    place: createLayout(join(scratch, `layout-${(layouts += 1)}`)),
    repository: { host: 'oci-layout', name: 'any' },
  });

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'plumbline-copy-'));
    const [first, second] = [await temporaryRegistry(), await temporaryRegistry()];
    const front = await startWithoutReferrers(second.port);
    const host = `127.0.0.1:${first.port}`;
    client = createRegistryClient({ plainHttpHosts: [host, front.host] });
    modern = { place: client, repository: { host, name: 'infra/modern' } };
    old = { place: client, repository: { host: front.host, name: 'infra/old' } };
    closers.push(() => client.close(), front.close, first.close, second.close);
    closers.push(() => rm(scratch, { recursive: true, force: true }));
  });
  afterAll(async () => {
    for (const close of closers) await close();
  });

  const copy = (from: Place, to: Place, reference = '1.4.0') =>
    copyArtifact(from.place, to.place, {
      from: from.repository,
      to: to.repository,
      reference,
      tag: '1.4.0',
      signal: signal(),
    });

  it('brings everything over an air gap, into registries with and without the referrers API', async () => {
    const pushed = await pushEverything(modern);
    const folder = newLayout();
    const result = await copy(modern, folder);
    expect(result.digest).toBe(pushed.index.digest);
    expect(result.tags.at(-1)).toEqual({ tag: '1.4.0', digest: pushed.index.digest });
    expect(result.leftOut).toEqual([]);
    await assertComplete(folder, pushed);
    await copy(folder, old);
    await assertComplete(old, pushed);
    const back = newLayout();
    await copy(old, back);
    await assertComplete(back, pushed);
  });

  it('sends nothing again when it is repeated', async () => {
    const pushed = await pushEverything(modern);
    const folder = newLayout();
    const first = await copy(modern, folder);
    const again = await copy(modern, folder);
    expect(again.items.filter(({ existed }) => !existed)).toEqual([]);
    expect(again.items).toHaveLength(first.items.length);
    await assertComplete(folder, pushed);
  });

  it('goes on where it broke off, and sets the tag only when everything is there', async () => {
    const pushed = await pushEverything(modern);
    const { place, repository } = newLayout();
    let pushes = 0;
    const weak: Source & Pusher = {
      ...place,
      async pushBlob(...blob) {
        if ((pushes += 1) === 9) throw transient('SourceUnreachable', 'the cable was pulled');
        return place.pushBlob(...blob);
      },
    };
    await expect(copy(modern, { place: weak, repository })).rejects.toThrow('the cable was pulled');
    await expect(place.resolve(repository, '1.4.0', signal())).rejects.toMatchObject({ reason: 'SourceNotFound' });
    await copy(modern, { place, repository });
    await assertComplete({ place, repository }, pushed);
  });

  it('mounts what another repository of the same registry has', async () => {
    const pushed = await pushEverything(modern);
    const beside = { place: client, repository: { ...modern.repository, name: 'infra/beside' } };
    let opened = 0;
    const counting: Source & Pusher = {
      ...client,
      fetch(...fetched) {
        if (fetched[1].mediaType === 'application/octet-stream') opened += 1;
        return client.fetch(...fetched);
      },
    };
    await copy({ ...modern, place: counting }, beside);
    expect(opened).toBe(0);
    await assertComplete(beside, pushed);
  });

  it('never has more than three things under way', async () => {
    await pushEverything(modern);
    const { place, repository } = newLayout();
    let [running, most] = [0, 0];
    const watched: Source & Pusher = {
      ...place,
      async pushBlob(...blob) {
        most = Math.max(most, (running += 1));
        try {
          return await place.pushBlob(...blob);
        } finally {
          running -= 1;
        }
      },
    };
    await copy(modern, { place: watched, repository });
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(3);
  });

  it('passes over signatures that a list still names but nobody has any more', async () => {
    const from = newLayout();
    const image = await pushImage(from, {}, '1.4.0');
    const gone = { mediaType: OCI_MANIFEST, digest: digestOf(Buffer.from('gone')), size: 4 };
    await pushJson(from, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [gone] }, referrersTag(image.digest));
    const result = await copy(from, newLayout());
    expect(result.leftOut).toEqual([{ digest: gone.digest, why: expect.stringContaining('not there') }]);
  });

  it('does not wait for itself where a registry lists an artifact as attached to its own signature', async () => {
    const from = newLayout();
    const image = await pushImage(from, {}, '1.4.0');
    const signature = await pushImage(from, { subject: image });
    const lying: Source & Pusher = {
      ...from.place,
      referrers: async (_, digest) => (digest === image.digest ? [signature] : [image]),
    };
    const result = await copy({ ...from, place: lying }, newLayout());
    expect(result.items.filter(({ kind }) => kind === 'manifest')).toHaveLength(2);
  });

  it('leaves what is attached behind where that is asked for', async () => {
    const pushed = await pushEverything(modern);
    const to = newLayout();
    await copyArtifact(modern.place, to.place, {
      from: modern.repository,
      to: to.repository,
      reference: pushed.index.digest,
      withReferrers: false,
      signal: signal(),
    });
    expect(await to.place.referrers(to.repository, pushed.index.digest, {}, signal())).toEqual([]);
    expect(await to.place.tags(to.repository, signal())).toEqual([]);
  });

  it.each<[string, object, string]>([
    ['an index of what is no manifest', { schemaVersion: 2, manifests: [{ mediaType: 'x/y' }] }, 'ArtifactInvalid'],
    ['a manifest without layers', { schemaVersion: 2, config: {} }, 'ArtifactInvalid'],
    [
      'a manifest whose layer nobody has',
      {
        schemaVersion: 2,
        config: contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG).descriptor,
        layers: [contentOf(Buffer.from('nowhere'), 'x/y').descriptor],
      },
      'SourceNotFound',
    ],
  ])('refuses %s and sets no tag', async (_, manifest, reason) => {
    const from = newLayout();
    await from.place.pushBlob(from.repository, contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG), signal());
    await pushJson(from, manifest, '1.4.0');
    const to = newLayout();
    await expect(copy(from, to)).rejects.toMatchObject({ reason });
    expect(await to.place.tags(to.repository, signal()).catch(() => [])).toEqual([]);
  });
});
