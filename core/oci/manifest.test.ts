import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReconcileError } from '#core/domain/errors.ts';
import { readArtifact } from './artifact.ts';
import { partsOf } from './closure.ts';
import { digestOf } from './digest.ts';
import { checkManifest, parseImageIndex, parseImageManifest } from './manifest.ts';
import { DOCKER_LIST, DOCKER_MANIFEST, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import { createReferrerList, referrerDescriptor } from './referrer-list.ts';

const RUNS = { numRuns: 300 };
const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
const annotations = fc.dictionary(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }), { maxKeys: 5 });
const descriptor = fc.record(
  {
    mediaType: fc.stringMatching(/^[a-z]{1,10}\/[a-z0-9.+-]{1,40}$/),
    digest: hex.map((text) => `sha256:${text}`),
    size: fc.nat(),
    annotations,
  },
  { requiredKeys: ['mediaType', 'digest', 'size'] },
);
const imageManifest = fc.record(
  {
    schemaVersion: fc.constant(2),
    mediaType: fc.constant(OCI_MANIFEST),
    artifactType: fc.stringMatching(/^[a-z]{1,10}\/[a-z0-9.+-]{1,40}$/),
    config: descriptor,
    layers: fc.array(descriptor, { maxLength: 10 }),
    annotations,
  },
  { requiredKeys: ['schemaVersion', 'config', 'layers'] },
);
/** JSON that has the fields of manifests, with anything in them. */
const nearManifest = fc.dictionary(
  fc.constantFrom(
    'schemaVersion',
    'mediaType',
    'artifactType',
    'config',
    'layers',
    'manifests',
    'annotations',
    'subject',
  ),
  fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>(2, OCI_MANIFEST, OCI_INDEX), descriptor, fc.array(descriptor)),
);
const bytes = fc.oneof(
  fc.json().map((text) => Buffer.from(text)),
  nearManifest.map((value) => Buffer.from(JSON.stringify(value))),
  fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
);

/** Whatever bytes come, the only way out besides a result is an error a person can act on. */
function assertOnlyStalls(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(ReconcileError);
    expect(error).toMatchObject({ kind: 'stalled' });
  }
}

describe('manifests of any bytes', () => {
  it('are parsed or refused, and never break the parser', () => {
    const any = fc.property(bytes, fc.constantFrom(...MANIFEST_TYPES), (body, mediaType) => {
      const digest = digestOf(body);
      for (const contentType of [mediaType, undefined, 'text/html']) {
        assertOnlyStalls(() => checkManifest({ bytes: body, contentType, digest }, 'x'));
      }
      assertOnlyStalls(() => parseImageManifest(body, 'x'));
      assertOnlyStalls(() => parseImageIndex(body, 'x'));
      assertOnlyStalls(() => partsOf({ bytes: body, mediaType }, 'x'));
      assertOnlyStalls(() => createReferrerList('x').addPage(body));
      assertOnlyStalls(() => referrerDescriptor(body, { mediaType, digest, size: body.byteLength }));
      assertOnlyStalls(() => readArtifact({ bytes: body, mediaType }, 'x'));
    });
    fc.assert(any, RUNS);
  });

  it('that are image manifests say what was written', () => {
    const roundTrip = fc.property(imageManifest, (manifest) => {
      const body = Buffer.from(JSON.stringify(manifest));
      const read = { bytes: body, contentType: OCI_MANIFEST, digest: digestOf(body) };
      expect(checkManifest(read, 'x')).toBe(OCI_MANIFEST);
      expect(parseImageManifest(body, 'x')).toEqual(JSON.parse(body.toString()));
      const bare = [manifest.config, ...manifest.layers].map(({ mediaType, digest, size }) => ({
        mediaType,
        digest,
        size,
      }));
      expect(partsOf({ bytes: body, mediaType: OCI_MANIFEST }, 'x')).toEqual({
        manifests: [],
        blobs: bare,
        foreign: [],
      });
    });
    fc.assert(roundTrip, RUNS);
  });

  it('that differ in one bit are not taken for each other', () => {
    const flipped = fc.property(imageManifest, fc.nat(), (manifest, at) => {
      const body = Buffer.from(JSON.stringify(manifest));
      const digest = digestOf(body);
      body[at % body.byteLength] = (body[at % body.byteLength] ?? 0) ^ 1;
      const read = { bytes: body, contentType: OCI_MANIFEST, digest };
      expect(() => checkManifest(read, 'x')).toThrow('does not match');
    });
    fc.assert(flipped, RUNS);
  });
});

describe('manifests made to harm', () => {
  const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);
  const deepObject = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`;

  it.each([
    ['100,000 nested lists', nested(100_000)],
    ['100,000 nested objects', deepObject],
    ['a manifest with 100,000 nested lists for layers', `{"schemaVersion":2,"config":{},"layers":${nested(100_000)}}`],
    ['a manifest with 100,000 nested objects for its config', `{"schemaVersion":2,"config":${deepObject},"layers":[]}`],
    ['a manifest of 200,000 layers', `{"schemaVersion":2,"config":{},"layers":[${'{},'.repeat(199_999)}{}]}`],
    ['a prototype', '{"__proto__":{"schemaVersion":2},"constructor":1}'],
  ])('are refused in a sentence: %s', (_, text) => {
    const body = Buffer.from(text);
    const refused = { kind: 'stalled', reason: 'ArtifactInvalid' };
    for (const act of [
      () => parseImageManifest(body, 'r.io/shop@sha256:1'),
      () => parseImageIndex(body, 'r.io/shop@sha256:1'),
      () => partsOf({ bytes: body, mediaType: OCI_MANIFEST }, 'r.io/shop@sha256:1'),
    ]) {
      expect(act).toThrow(expect.objectContaining(refused));
      expect(act).toThrow(/^r\.io\/shop@sha256:1 .{10,300}$/);
    }
  });

  it.each([
    [OCI_MANIFEST, { manifests: [] }],
    [DOCKER_MANIFEST, { manifests: [] }],
    [OCI_INDEX, { layers: [] }],
    [OCI_INDEX, { config: {} }],
    [DOCKER_LIST, { layers: [] }],
  ])('are refused where one reader sees %s and another does not (CVE-2021-41190)', (contentType, more) => {
    const body = Buffer.from(JSON.stringify({ schemaVersion: 2, ...more }));
    expect(() => checkManifest({ bytes: body, contentType, digest: undefined }, 'x')).toThrow('at once');
  });
});
