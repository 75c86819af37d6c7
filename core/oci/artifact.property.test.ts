import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReconcileError } from '#core/domain/errors.ts';
import { chooseParts } from './artifact-parts.ts';
import { readArtifact, type Artifact } from './artifact.ts';
import { digestOf } from './digest.ts';
import { checkManifest } from './manifest.ts';
import {
  DEPENDENCIES_LAYER,
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
  PLATFORM,
  PLUGINS_LAYER,
  PROGRAM_ARTIFACT,
  PROGRAM_LAYER,
  TITLE,
  UNPACK,
  UNPACKED_DIGEST,
} from './media-types.ts';

const types = fc.constantFrom(OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST);
const layerType = fc.constantFrom(
  PROGRAM_LAYER, DEPENDENCIES_LAYER, PLUGINS_LAYER, FLUX_LAYER, OCI_TAR, OCI_TAR_GZIP, DOCKER_TAR_GZIP, EMPTY_CONFIG, '', 'x',
); // prettier-ignore
const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined));
const digest = fc.oneof(
  { weight: 5, arbitrary: fc.constant(digestOf(Buffer.from('x'))) },
  { weight: 1, arbitrary: odd },
);
const annotations = fc.oneof(
  { weight: 20, arbitrary: fc.constant(undefined) },
  {
    weight: 20,
    arbitrary: fc.dictionary(
      fc.constantFrom(TITLE, UNPACK, UNPACKED_DIGEST, PLATFORM, '__proto__', 'constructor'),
      fc.constantFrom('true', 'linux/amd64', '../../etc', '/', '', 'program'),
    ),
  },
  { weight: 1, arbitrary: odd },
);
const descriptor = fc.oneof(
  { weight: 40, arbitrary: fc.record({ mediaType: layerType, digest, size: fc.constant(7), annotations }) },
  { weight: 1, arbitrary: odd },
);
const manifest = fc.record(
  {
    schemaVersion: fc.oneof({ weight: 40, arbitrary: fc.constant(2) }, { weight: 1, arbitrary: odd }),
    mediaType: fc.oneof({ weight: 1, arbitrary: types }, { weight: 6, arbitrary: fc.constant(undefined) }),
    artifactType: fc.oneof(
      { weight: 20, arbitrary: fc.constantFrom(PROGRAM_ARTIFACT, 'a/b', undefined) },
      { weight: 1, arbitrary: odd },
    ),
    config: fc.oneof(
      {
        weight: 20,
        arbitrary: fc.record({
          mediaType: fc.constantFrom(EMPTY_CONFIG, FLUX_CONFIG, OCI_IMAGE_CONFIG),
          digest: fc.constant(digestOf(Buffer.from('{}'))),
          size: fc.constant(2),
        }),
      },
      { weight: 1, arbitrary: descriptor },
    ),
    layers: fc.oneof({ weight: 20, arbitrary: fc.array(descriptor, { maxLength: 3 }) }, { weight: 1, arbitrary: odd }),
    manifests: fc.oneof(
      { weight: 4, arbitrary: fc.constant(undefined) },
      { weight: 1, arbitrary: fc.array(descriptor, { maxLength: 2 }) },
    ),
    annotations,
  },
  { requiredKeys: ['schemaVersion', 'config', 'layers'] },
);
const selection = fc.constantFrom(
  {},
  { imagePath: '/program' },
  { layerSelector: { mediaType: OCI_TAR_GZIP } },
  { layerSelector: { mediaType: 'x' }, imagePath: '/' },
);

/** What `act` gives; undefined when it refuses. Anything but a refusal is a defect. */
function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    if (error instanceof ReconcileError) return undefined;
    throw error;
  }
}

describe('a manifest of whatever', () => {
  it('is read, or turned away with a reason', () => {
    let read = 0;
    fc.assert(
      fc.property(manifest, types, selection, (value, contentType, selected) => {
        const bytes = Buffer.from(JSON.stringify(value));
        const mediaType = attempt(() => checkManifest({ bytes, contentType, digest: undefined }, 'it'));
        if (mediaType === undefined) return;
        // CVE-2021-41190: one thing for one reader, another for the next.
        const isBoth = value.manifests !== undefined && (value.layers !== undefined || value.config !== undefined);
        expect(isBoth).toBe(false);
        const artifact = attempt((): Artifact => readArtifact({ bytes, mediaType }, 'it', selected));
        if (artifact?.type !== 'program') return;
        read += 1;
        attempt(() => chooseParts(artifact.parts, 'linux/amd64', 'it'));
        for (const { descriptor: layer } of artifact.layers) expect(layer.digest).toMatch(/^sha256:[a-f0-9]{64}$/);
      }),
      { numRuns: 2_000 },
    );
    expect(read).toBeGreaterThan(20);
  });

  it.each<[string, string]>([
    ['nothing', ''],
    ['a number', '1'],
    ['null', 'null'],
    ['a list', '[]'],
    ['lists in lists without end', '['.repeat(1_000_000)],
    ['lists in lists', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['no UTF-8', '\u{d800}'],
  ])('refuses %s', (_, text) => {
    const check = () =>
      checkManifest({ bytes: Buffer.from(text), contentType: OCI_MANIFEST, digest: undefined }, 'r.io/a');
    expect(check).toThrow(expect.objectContaining({ kind: 'stalled', reason: 'ArtifactInvalid' }));
  });

  it('bytes of any kind are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), types, (bytes, mediaType) => {
        expect(attempt(() => readArtifact({ bytes: Buffer.from(bytes), mediaType }, 'it'))).toBeUndefined();
      }),
    );
  });
});
