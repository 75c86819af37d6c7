import { describe, expect, it } from 'vitest';
import { parseManifest } from './manifest.ts';

const image = 'application/vnd.oci.image.manifest.v1+json';
const index = 'application/vnd.oci.image.index.v1+json';
const blob = { mediaType: 'application/octet-stream', digest: `sha256:${'a'.repeat(64)}`, size: 1 };

function parse(document: unknown, type: string | undefined = image) {
  return parseManifest(Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)), type);
}

describe('a manifest', () => {
  it('names the blobs that must be there, without layers that must not be distributed', () => {
    const foreign = { ...blob, mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' };
    const docker = { ...blob, mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' };
    const parsed = parse({ schemaVersion: 2, config: blob, layers: [blob, foreign, docker] });
    expect(parsed.blobs).toEqual([blob, blob]);
  });

  it.each([
    [{ artifactType: 'a/b' }, 'a/b'],
    [{ artifactType: '' }, blob.mediaType],
    [{}, blob.mediaType],
  ])('with %j is listed as a referrer of type %s', (fields, expected) => {
    expect(parse({ schemaVersion: 2, config: blob, layers: [], ...fields }).artifactType).toBe(expected);
  });

  it('may leave its media type to the Content-Type, parameters ignored', () => {
    expect(parse({ schemaVersion: 2, manifests: [blob] }, `${index}; charset=utf-8`)).toMatchObject({
      mediaType: index,
      artifactType: undefined,
      manifests: [blob],
    });
  });

  it('may leave the Content-Type to its media type', () => {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: index, manifests: [] }));
    expect(parseManifest(bytes, undefined).mediaType).toBe(index);
  });

  it.each([
    ['no JSON', '{', image, 'no JSON'],
    ['no object', '[]', image, 'no JSON object'],
    ['null', 'null', image, 'no JSON object'],
    [
      'another media type than its Content-Type',
      { schemaVersion: 2, mediaType: index, manifests: [] },
      image,
      'differs',
    ],
    ['an unknown type', { schemaVersion: 2 }, 'application/json', 'application/json'],
    ['no type at all', { schemaVersion: 2, config: blob, layers: [] }, '', '(none)'],
    ['schema version 1', { schemaVersion: 1, config: blob, layers: [] }, image, '/schemaVersion'],
    ['no config', { schemaVersion: 2, layers: [] }, image, 'config'],
    ['layers that are no list', { schemaVersion: 2, config: blob, layers: {} }, image, '/layers'],
    [
      'a layer without size',
      { schemaVersion: 2, config: blob, layers: [{ ...blob, size: undefined }] },
      image,
      '/layers/0',
    ],
    ['a negative size', { schemaVersion: 2, config: { ...blob, size: -1 }, layers: [] }, image, '/config/size'],
    [
      'a digest with a path in it',
      { schemaVersion: 2, config: { ...blob, digest: 'sha256:../x' }, layers: [] },
      image,
      'sha256:../x',
    ],
    [
      'a subject with no digest',
      { schemaVersion: 2, config: blob, layers: [], subject: { ...blob, digest: 'x' } },
      image,
      'x is no',
    ],
    [
      'annotations that are no strings',
      { schemaVersion: 2, config: blob, layers: [], annotations: { a: 1 } },
      image,
      '/annotations',
    ],
    ['both layers and manifests', { schemaVersion: 2, config: blob, layers: [], manifests: [] }, image, 'manifests'],
    ['both manifests and a config', { schemaVersion: 2, manifests: [], config: blob }, index, 'config'],
  ])('with %s is refused', (_what, document, type, message) => {
    expect(() => parse(document, type)).toThrow(
      expect.objectContaining({ code: 'MANIFEST_INVALID', message: expect.stringContaining(message) as string }),
    );
  });
});
