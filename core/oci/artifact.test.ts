import { describe, expect, it } from 'vitest';
import { readArtifact, type ProgramLayer } from './artifact.ts';
import { digestOf } from './digest.ts';
import {
  DOCKER_LIST,
  DOCKER_MANIFEST,
  DOCKER_TAR_GZIP,
  EMPTY_CONFIG,
  FLUX_CONFIG,
  FLUX_LAYER,
  OCI_IMAGE_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  OCI_TAR,
  OCI_TAR_GZIP,
  OCI_TAR_ZSTD,
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

function read({ artifactType, config = EMPTY_CONFIG, layers, annotations }: Parts, mediaType = OCI_MANIFEST) {
  const manifest = { schemaVersion: 2, mediaType, artifactType, config: layer(config), layers, annotations };
  return readArtifact({ bytes: Buffer.from(JSON.stringify(manifest)), mediaType }, 'r.io/a@sha256:1');
}

const oras = (title: string, unpack?: string) => ({
  'org.opencontainers.image.title': title,
  ...(unpack === undefined ? {} : { 'io.deis.oras.content.unpack': unpack }),
});
const briefly = (each: ProgramLayer) => (each.type === 'file' ? `file ${each.path}` : `archive ${each.compression}`);

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
    [
      'a container image of one layer',
      { config: OCI_IMAGE_CONFIG, layers: [layer(OCI_TAR_GZIP)] },
      'generic',
      ['archive gzip'],
    ],
    [
      'a folder of ORAS',
      { artifactType: 'application/vnd.unknown.artifact.v1', layers: [layer(OCI_TAR_GZIP, oras('program', 'true'))] },
      'generic',
      ['archive gzip'],
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

  it('accepts a Docker manifest of one layer', () => {
    const image = { config: 'application/vnd.docker.container.image.v1+json', layers: [layer(DOCKER_TAR_GZIP)] };
    expect(read(image, DOCKER_MANIFEST)).toMatchObject({ type: 'program' });
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
      'container image of 2 layers',
    ],
    ['something unknown', { layers: [layer('application/vnd.acme.thing')] }, 'application/vnd.acme.thing'],
    ['nothing', { layers: [] }, 'no layers'],
    ['our type with no layer', { artifactType: PROGRAM_ARTIFACT, layers: [] }, 'one layer'],
    [
      'our type with two layers',
      { artifactType: PROGRAM_ARTIFACT, layers: [layer(PROGRAM_LAYER), layer(PROGRAM_LAYER)] },
      'one layer',
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
});
