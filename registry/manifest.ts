import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { RegistryError } from './errors.ts';
import { parseDigest } from './names.ts';

/** Largest manifest that is taken, in bytes: what distribution-spec 1.1 "Pushing Manifests" asks registries for. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** Media type of an index, referrers lists among them. */
export const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json';

const IMAGE_TYPES = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const INDEX_TYPES = [INDEX_TYPE, 'application/vnd.docker.distribution.manifest.list.v2+json'];
const NON_DISTRIBUTABLE = /^application\/vnd\.(oci\.image\.layer\.nondistributable\.|docker\.image\.rootfs\.foreign\.)/;

const DescriptorSchema = Type.Object({
  mediaType: Type.String({ minLength: 1 }),
  digest: Type.String(),
  size: Type.Integer({ minimum: 0 }),
});
type ManifestDescriptor = Static<typeof DescriptorSchema>;

const common = {
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  artifactType: Type.Optional(Type.String()),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
  subject: Type.Optional(DescriptorSchema),
};
const ImageSchema = Type.Object({ ...common, config: DescriptorSchema, layers: Type.Array(DescriptorSchema) });
const IndexSchema = Type.Object({ ...common, manifests: Type.Array(DescriptorSchema) });

/** What the registry needs to know of a manifest; the bytes themselves are stored untouched. */
export interface ParsedManifest {
  mediaType: string;
  /** `artifactType`, for an image manifest without one its config's media type, as referrers lists show it. */
  artifactType: string | undefined;
  annotations: Record<string, string> | undefined;
  /** Digest of the manifest this one is about; it need not exist. */
  subject: string | undefined;
  /** Blobs that must be in the repository already; non-distributable layers are left out. */
  blobs: ManifestDescriptor[];
  /** Manifests that must be in the repository already. */
  manifests: ManifestDescriptor[];
}

/**
 * Checks a manifest against image-spec 1.1 and its `Content-Type`.
 * @throws RegistryError MANIFEST_INVALID naming the field.
 */
export function parseManifest(bytes: Buffer, contentType: string | undefined): ParsedManifest {
  const document = parseJson(bytes);
  const declared = stringField(document, 'mediaType');
  const mediaType = contentType?.split(';')[0]?.trim() || declared;
  if (declared !== undefined && declared !== mediaType) {
    throw invalid(`mediaType ${declared} differs from Content-Type ${mediaType}`);
  }
  if (mediaType !== undefined && IMAGE_TYPES.includes(mediaType)) return parseImage(document, mediaType);
  if (mediaType !== undefined && INDEX_TYPES.includes(mediaType)) return parseIndex(document, mediaType);
  throw invalid(`Content-Type ${mediaType ?? '(none)'} is no manifest type this registry takes`);
}

function parseImage(document: object, mediaType: string): ParsedManifest {
  // CVE-2021-41190: a document that reads as both image and index means different things to different clients.
  if ('manifests' in document) throw invalid('an image manifest must not have "manifests"');
  if (!Value.Check(ImageSchema, document)) throw schemaError(Value.Errors(ImageSchema, document));
  const blobs = [document.config, ...document.layers];
  checkDigests([...blobs, ...(document.subject ? [document.subject] : [])]);
  return {
    mediaType,
    artifactType: document.artifactType || document.config.mediaType,
    annotations: document.annotations,
    subject: document.subject?.digest,
    blobs: blobs.filter((blob) => !NON_DISTRIBUTABLE.test(blob.mediaType)),
    manifests: [],
  };
}

function parseIndex(document: object, mediaType: string): ParsedManifest {
  if ('layers' in document || 'config' in document) throw invalid('an index must not have "config" or "layers"');
  if (!Value.Check(IndexSchema, document)) throw schemaError(Value.Errors(IndexSchema, document));
  checkDigests([...document.manifests, ...(document.subject ? [document.subject] : [])]);
  return {
    mediaType,
    artifactType: document.artifactType,
    annotations: document.annotations,
    subject: document.subject?.digest,
    blobs: [],
    manifests: document.manifests,
  };
}

function parseJson(bytes: Buffer): object {
  let document: unknown;
  try {
    document = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw invalid('the body is no JSON');
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw invalid('the body is no JSON object');
  }
  return document;
}

function stringField(document: object, key: string): string | undefined {
  const value: unknown = Object.entries(document).find(([name]) => name === key)?.[1];
  return typeof value === 'string' ? value : undefined;
}

function checkDigests(descriptors: ManifestDescriptor[]): void {
  for (const { digest } of descriptors) {
    if (parseDigest(digest) === undefined) throw invalid(`${digest} is no sha256 or sha512 digest`);
  }
}

function schemaError(errors: { instancePath: string; message: string }[]): RegistryError {
  const [first] = errors;
  return invalid(`${first?.instancePath || '/'} ${first?.message ?? 'is not valid'}`);
}

function invalid(message: string): RegistryError {
  return new RegistryError('MANIFEST_INVALID', message);
}
