import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { stalled } from '#core/domain/errors.ts';
import { Digest } from '#core/domain/manifest.ts';
import { field, parseJson } from './body.ts';
import { hasDigest } from './digest.ts';
import { bareType, INDEX_TYPES, MANIFEST_TYPES } from './media-types.ts';

/** distribution-spec: registries should take manifests of 4 MiB, so none we want is larger. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const MAX_LAYERS = 128;
const MAX_MANIFESTS = 10_000;

const Annotations = Type.Record(Type.String(), Type.String());
const Size = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const ContentDescriptor = Type.Object({
  mediaType: Type.String({ minLength: 1, maxLength: 255 }),
  digest: Digest,
  size: Size,
  artifactType: Type.Optional(Type.String()),
  annotations: Type.Optional(Annotations),
  urls: Type.Optional(Type.Array(Type.String())),
  platform: Type.Optional(
    Type.Object({ os: Type.Optional(Type.String()), architecture: Type.Optional(Type.String()) }),
  ),
});
export type ContentDescriptor = Static<typeof ContentDescriptor>;

/** image-spec manifest.md; fields we do not use are passed over. */
const ImageManifest = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  artifactType: Type.Optional(Type.String()),
  config: ContentDescriptor,
  layers: Type.Array(ContentDescriptor),
  annotations: Type.Optional(Annotations),
});
export type ImageManifest = Static<typeof ImageManifest>;

/** image-spec image-index.md. */
const ImageIndex = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  artifactType: Type.Optional(Type.String()),
  manifests: Type.Array(ContentDescriptor),
  annotations: Type.Optional(Annotations),
});
export type ImageIndex = Static<typeof ImageIndex>;

const Head = Type.Object({
  mediaType: Type.Optional(Type.String()),
  manifests: Type.Optional(Type.Unknown()),
  layers: Type.Optional(Type.Unknown()),
  config: Type.Optional(Type.Unknown()),
});

function notManifest(what: string, why: string) {
  return stalled(
    'ArtifactInvalid',
    `${what} is no manifest Plumbline can read: ${why}; check what was pushed and the registry`,
  );
}

/**
 * Checks the bytes of a manifest and says its media type. Bytes are hashed as they came, never written anew.
 * Refuses what one reader takes for an index and another for an image (CVE-2021-41190).
 * @throws ReconcileError stalled DigestMismatch | ArtifactInvalid
 */
export function checkManifest(
  received: { bytes: Buffer; contentType: string | undefined; digest: string | undefined },
  what: string,
): string {
  const { bytes, digest } = received;
  if (digest !== undefined && !hasDigest(bytes, digest)) {
    throw stalled(
      'DigestMismatch',
      `the manifest of ${what} does not match ${digest}; check the registry, push it again, then \`plumb reconcile\``,
    );
  }
  const head = parseJson(bytes);
  if (!Value.Check(Head, head)) throw notManifest(what, 'it is not a JSON object');
  const mediaType = bareType(received.contentType) ?? head.mediaType ?? '';
  if (head.mediaType !== undefined && head.mediaType !== mediaType) {
    throw notManifest(what, `it says ${head.mediaType}, the registry says ${mediaType}`);
  }
  if (!MANIFEST_TYPES.has(mediaType)) throw notManifest(what, `its media type is ${mediaType || 'missing'}`);
  const isIndex = INDEX_TYPES.has(mediaType);
  if (isIndex ? head.layers !== undefined || head.config !== undefined : head.manifests !== undefined) {
    throw notManifest(what, 'it is an index and an image manifest at once');
  }
  return mediaType;
}

function firstError(schema: typeof ImageManifest | typeof ImageIndex, value: unknown): string {
  const [first] = Value.Errors(schema, value);
  return first === undefined ? 'it is not valid' : `${first.instancePath || 'it'} ${first.message}`;
}

/** Parses JSON; a list of a million entries is refused before each of them is looked at. */
function parseWithin(bytes: Buffer, list: 'layers' | 'manifests', limit: number, what: string): unknown {
  const value = parseJson(bytes);
  const entries = field(value, list);
  if (Array.isArray(entries) && entries.length > limit) {
    throw notManifest(what, `it has ${entries.length} ${list}, more than the allowed ${limit}`);
  }
  return value;
}

/** @throws ReconcileError stalled ArtifactInvalid */
export function parseImageManifest(bytes: Buffer, what: string): ImageManifest {
  const value = parseWithin(bytes, 'layers', MAX_LAYERS, what);
  if (!Value.Check(ImageManifest, value)) throw notManifest(what, firstError(ImageManifest, value));
  return value;
}

/** @throws ReconcileError stalled ArtifactInvalid */
export function parseImageIndex(bytes: Buffer, what: string): ImageIndex {
  const value = parseWithin(bytes, 'manifests', MAX_MANIFESTS, what);
  if (!Value.Check(ImageIndex, value)) throw notManifest(what, firstError(ImageIndex, value));
  return value;
}
