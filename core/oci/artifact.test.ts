import { describe, expect, it } from 'vitest';
import type { ProgramLayer } from './artifact-layers.ts';
import { chooseParts } from './artifact-parts.ts';
import { readArtifact, type Selection } from './artifact.ts';
import { digestOf } from './digest.ts';
import {
  DOCKER_IMAGE_CONFIG,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  DOCKER_TAR_GZIP,
  EMPTY_CONFIG,
  FLUX_CONFIG,
  FLUX_CONTENT,
  FLUX_LAYER,
  OCI_IMAGE_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  OCI_TAR,
  OCI_TAR_GZIP,
  OCI_TAR_ZSTD,
  PLATFORM,
  PLUGINS_LAYER,
  DEPENDENCIES_LAYER,
  PROGRAM_ARTIFACT,
  PROGRAM_LAYER,
} from './media-types.ts';

const digest = digestOf(Buffer.from('x'));
const layer = (mediaType: string, annotations?: Record<string, string>) => ({
  mediaType,
  digest,
  size: 7,
  ...(annotations === undefined ? {} : { annotations }),
});

interface Parts {
  artifactType?: string;
  config?: string;
  layers: unknown[];
  annotations?: Record<string, string>;
}

function read(
  { artifactType, config = EMPTY_CONFIG, layers, annotations }: Parts,
  mediaType = OCI_MANIFEST,
  selection: Selection = {},
) {
  const manifest = { schemaVersion: 2, mediaType, artifactType, config: layer(config), layers, annotations };
  return readArtifact({ bytes: Buffer.from(JSON.stringify(manifest)), mediaType }, 'r.io/a@sha256:1', selection);
}

const oras = (title: string, unpack?: string) => ({
  'org.opencontainers.image.title': title,
  ...(unpack === undefined ? {} : { 'io.deis.oras.content.unpack': unpack }),
});
function briefly(each: ProgramLayer): string {
  if (each.type === 'file') return `file ${each.path}`;
  return `archive ${each.compression}${each.prefix === undefined ? '' : ` in ${each.prefix}`}`;
}

describe('readArtifact', () => {
  it.each<[string, Parts, string, string[]]>([
    ['our own', { artifactType: PROGRAM_ARTIFACT, layers: [layer(PROGRAM_LAYER)] }, 'plumbline', ['archive gzip']],
    ['of Flux', { config: FLUX_CONFIG, layers: [layer(FLUX_LAYER)] }, 'flux', ['archive gzip']],
    ['a tar', { layers: [layer(OCI_TAR)] }, 'generic', ['archive none']],
    [
      'a tar+gzip',
      { artifactType: 'application/vnd.acme.v1', layers: [layer(OCI_TAR_GZIP)] },
      'generic',
      ['archive gzip'],
    ],
    ['a tar+zstd', { layers: [layer(OCI_TAR_ZSTD)] }, 'generic', ['archive zstd']],
    ['a static layer of Flux', { config: FLUX_CONFIG, layers: [layer(FLUX_CONTENT)] }, 'flux', ['archive none']],
    ['a tar of Flux', { config: FLUX_CONFIG, layers: [layer(`${FLUX_CONTENT}.tar`)] }, 'flux', ['archive none']],
    [
      'an archive of a type of its own',
      { layers: [layer('application/vnd.acme.tar+gzip')] },
      'generic',
      ['archive gzip'],
    ],
    [
      'a folder of ORAS',
      { artifactType: 'application/vnd.unknown.artifact.v1', layers: [layer(OCI_TAR_GZIP, oras('program', 'true'))] },
      'generic',
      ['archive gzip in program'],
    ],
    [
      'a folder of ORAS with a type of its own, which is gzip all the same',
      { layers: [layer('application/vnd.acme.v1', oras('program', 'true')), layer(OCI_TAR, oras('b', 'true'))] },
      'generic',
      ['archive gzip in program', 'archive gzip in b'],
    ],
    [
      'files of ORAS, which have the type of a tar',
      { layers: [layer(OCI_TAR, oras('Pulumi.yaml')), layer('application/json', oras('lib/data.json'))] },
      'generic',
      ['file Pulumi.yaml', 'file lib/data.json'],
    ],
    [
      'archives that ORAS pushed as files',
      { layers: [layer(OCI_TAR_GZIP, oras('p.tgz')), layer(OCI_TAR, oras('p.tar'))] },
      'generic',
      ['archive gzip', 'archive none'],
    ],
  ])('accepts a program: %s', (_, parts, format, layers) => {
    const artifact = read({ ...parts, annotations: { a: 'b' } });
    expect(artifact).toMatchObject({ type: 'program', format, annotations: { a: 'b' } });
    expect(artifact.type === 'program' ? artifact.layers.map(briefly) : []).toEqual(layers);
  });

  it.each<[string, Parts, string]>([
    ['OCI', { config: OCI_IMAGE_CONFIG, layers: [layer(OCI_TAR_GZIP), layer(OCI_TAR_ZSTD)] }, OCI_MANIFEST],
    [
      'Docker',
      { config: DOCKER_IMAGE_CONFIG, layers: [layer(DOCKER_TAR_GZIP), layer(DOCKER_TAR_GZIP)] },
      DOCKER_MANIFEST,
    ],
  ])('takes a container image (%s) only with spec.source.imagePath', (_, image, mediaType) => {
    expect(() => read(image, mediaType)).toThrow('spec.source.imagePath');
    const found = read(image, mediaType, { imagePath: '/program' });
    expect(found).toMatchObject({ format: 'image', layers: [{ type: 'archive' }, { type: 'archive' }] });
  });

  it('says that imagePath is for images', () => {
    const flux = { config: FLUX_CONFIG, layers: [layer(FLUX_LAYER)] };
    expect(() => read(flux, OCI_MANIFEST, { imagePath: '/program' })).toThrow('imagePath is for container images');
  });

  it('takes exactly the layer that is asked for, never just the first one', () => {
    const other = digestOf(Buffer.from('y'));
    const wanted = { ...layer('application/vnd.acme.content.v1.tar+gzip'), digest: other };
    const parts = { layers: [layer('application/vnd.acme.docs'), wanted, { ...wanted, digest }] };
    const found = read(parts, OCI_MANIFEST, { layerSelector: { mediaType: wanted.mediaType } });
    expect(found).toMatchObject({ layers: [{ descriptor: { digest: other }, compression: 'gzip' }] });
    const miss = { layerSelector: { mediaType: 'application/vnd.acme' } };
    expect(() => read(parts, OCI_MANIFEST, miss)).toThrow('application/vnd.acme.docs');
    expect(() => read(parts, OCI_MANIFEST, miss)).toThrow(expect.objectContaining({ reason: 'ArtifactInvalid' }));
  });

  it.each<[string, Parts, string]>([
    [
      'a Helm chart',
      {
        config: 'application/vnd.cncf.helm.config.v1+json',
        layers: [layer('application/vnd.cncf.helm.chart.content.v1.tar+gzip')],
      },
      'Helm chart',
    ],
    [
      'a cosign signature',
      { config: OCI_IMAGE_CONFIG, layers: [layer('application/vnd.dev.cosign.simplesigning.v1+json')] },
      'signature',
    ],
    [
      'a Notation signature',
      { artifactType: 'application/vnd.cncf.notary.signature', layers: [layer('application/jose+json')] },
      'Notation',
    ],
    [
      'a WebAssembly module',
      { config: 'application/vnd.wasm.config.v0+json', layers: [layer('application/wasm')] },
      'WebAssembly',
    ],
    [
      'an image of many layers',
      { config: OCI_IMAGE_CONFIG, layers: [layer(OCI_TAR_GZIP), layer(OCI_TAR_GZIP)] },
      'spec.source.imagePath',
    ],
    [
      'a Docker plugin',
      { config: 'application/vnd.docker.plugin.v1+json', layers: [layer(DOCKER_TAR_GZIP)] },
      'Docker plugin',
    ],
    [
      'a bill of materials',
      { artifactType: 'application/spdx+json', layers: [layer('application/spdx+json')] },
      'bill',
    ],
    [
      'a digest of a tar that is none',
      { layers: [layer(OCI_TAR, { 'io.deis.oras.content.digest': 'x' })] },
      'no digest',
    ],
    ['only the empty layer', { artifactType: 'a/b', layers: [layer(EMPTY_CONFIG)] }, 'no layers'],
    ['something unknown', { layers: [layer('application/vnd.acme.thing')] }, 'application/vnd.acme.thing'],
    ['nothing', { layers: [] }, 'no layers'],
    ['our type with no layer', { artifactType: PROGRAM_ARTIFACT, layers: [] }, 'one layer'],
    [
      'our type with two layers',
      { artifactType: PROGRAM_ARTIFACT, layers: [layer(PROGRAM_LAYER), layer(PROGRAM_LAYER)] },
      'one layer',
    ],
    [
      'our type with an odd layer',
      { artifactType: PROGRAM_ARTIFACT, layers: [layer(PROGRAM_LAYER), layer(OCI_TAR)] },
      'none of ours',
    ],
    [
      'our type with two layers of plugins for one platform',
      { artifactType: PROGRAM_ARTIFACT, layers: [layer(PROGRAM_LAYER), layer(PLUGINS_LAYER), layer(PLUGINS_LAYER)] },
      'two layers of plugins',
    ],
    ['our type with another layer', { artifactType: PROGRAM_ARTIFACT, layers: [layer(OCI_TAR_GZIP)] }, 'one layer'],
    [
      'a Flux artifact that is no archive',
      { config: FLUX_CONFIG, layers: [layer('application/vnd.cncf.flux.content.v1.json')] },
      'one layer',
    ],
    ['a layer that lives elsewhere', { layers: [{ ...layer(OCI_TAR_GZIP), urls: ['https://x'] }] }, 'urls'],
    ['a layer without a size', { layers: [{ mediaType: OCI_TAR, digest }] }, 'layers/0'],
    ['a layer of negative size', { layers: [{ ...layer(OCI_TAR), size: -1 }] }, 'layers/0/size'],
    ['a layer with an odd digest', { layers: [{ ...layer(OCI_TAR), digest: '../../etc' }] }, 'layers/0/digest'],
    ['too many layers', { layers: Array.from({ length: 129 }, () => layer(OCI_TAR)) }, 'layers'],
  ])('refuses %s by name', (_, parts, message) => {
    expect(() => read(parts)).toThrow(expect.objectContaining({ kind: 'stalled', reason: 'ArtifactInvalid' }));
    expect(() => read(parts)).toThrow(message);
  });
});

describe('an artifact of our own with parts', () => {
  const platform = (value: string) => ({ [PLATFORM]: value });
  const partsOf = (...layers: unknown[]) => {
    const found = read({ artifactType: PROGRAM_ARTIFACT, layers: [layer(PROGRAM_LAYER), ...layers] });
    return found.type === 'program' ? found.parts : [];
  };

  it('brings what the program needs', () => {
    const parts = partsOf(layer(DEPENDENCIES_LAYER), layer(PLUGINS_LAYER, platform('linux/arm64')));
    expect(parts.map(({ part, platform: on }) => [part, on])).toEqual([
      ['dependencies', undefined],
      ['plugins', 'linux/arm64'],
    ]);
  });

  it('is used with the layers of this platform', () => {
    const arm = layer(PLUGINS_LAYER, platform('linux/arm64'));
    const amd = layer(PLUGINS_LAYER, platform('linux/amd64'));
    const parts = partsOf(layer(DEPENDENCIES_LAYER), arm, amd);
    const chosen = chooseParts(parts, 'linux/amd64', 'it').map((each) => `${each.part} ${each.platform}`);
    expect(chosen).toEqual(['dependencies undefined', 'plugins linux/amd64']);
  });

  it.each([
    [PLUGINS_LAYER, 'PluginUnavailable'],
    [DEPENDENCIES_LAYER, 'DependenciesFailed'],
  ])('stalls where it has %s for other platforms only', (mediaType, reason) => {
    const parts = partsOf(layer(mediaType, platform('darwin/arm64')));
    const choose = () => chooseParts(parts, 'linux/amd64', 'r.io/a');
    expect(choose).toThrow(expect.objectContaining({ kind: 'stalled', reason }));
    expect(choose).toThrow('for darwin/arm64, and this worker runs on linux/amd64');
  });
});

describe('an index', () => {
  const entry = (over: object = {}) => ({ ...layer(OCI_MANIFEST), ...over });
  const attestation = entry({
    platform: { os: 'unknown', architecture: 'unknown' },
    annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
  });
  const readIndex = (manifests: unknown[], mediaType = OCI_INDEX) =>
    readArtifact(
      { bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests })), mediaType },
      'r.io/a',
    );

  it.each([OCI_INDEX, DOCKER_LIST])('leads to its one manifest, attestations aside (%s)', (mediaType) => {
    const found = readIndex([attestation, entry({ size: 9 })], mediaType);
    expect(found).toMatchObject({ type: 'index', descriptor: { digest, size: 9 } });
  });

  it.each([
    ['no manifest', []],
    ['attestations only', [attestation]],
    ['two manifests', [entry(), entry()]],
  ])('of %s is refused', (_, manifests) => {
    expect(() => readIndex(manifests)).toThrow('a program is exactly one');
  });

  it('of several manifests names them', () => {
    const candidates = [entry({ platform: { os: 'linux', architecture: 'amd64' } }), entry({ artifactType: 'a/b' })];
    const message = `spec.source.ref.digest: ${digest} (linux/amd64), ${digest} (a/b)`;
    expect(() => readIndex(candidates)).toThrow(message);
  });
});
