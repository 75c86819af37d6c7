import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { stalled } from '#core/domain/errors.ts';
import { Digest } from '#core/domain/manifest.ts';
import { field, parseJson } from './body.ts';
import { INDEX_TYPES, OCI_ARTIFACT_MANIFEST } from './media-types.ts';
import type { Descriptor } from './port.ts';

const Part = Type.Object({
  mediaType: Type.String({ minLength: 1, maxLength: 255 }),
  digest: Digest,
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  urls: Type.Optional(Type.Array(Type.String())),
});
const Parts = Type.Array(Part);
const MAX_PARTS = 20_000;

/** What a manifest needs to be whole. */
export interface Parts {
  manifests: Descriptor[];
  blobs: Descriptor[];
  /** Layers that live elsewhere (`urls`); they are never fetched. */
  foreign: Descriptor[];
}

function bare({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

function read(value: unknown, what: string, name: string) {
  if (!(Array.isArray(value) && value.length > MAX_PARTS) && Value.Check(Parts, value)) return value;
  throw stalled('ArtifactInvalid', `${what} cannot be copied: its ${name} are no descriptors`);
}

/**
 * The manifests and blobs that a manifest or index names; what it is attached to (`subject`) is not among them.
 * @throws ReconcileError stalled ArtifactInvalid
 */
export function partsOf(manifest: { bytes: Buffer; mediaType: string }, what: string): Parts {
  const parsed = parseJson(manifest.bytes);
  if (INDEX_TYPES.has(manifest.mediaType)) {
    return { manifests: read(field(parsed, 'manifests'), what, 'manifests').map(bare), blobs: [], foreign: [] };
  }
  const parts =
    manifest.mediaType === OCI_ARTIFACT_MANIFEST
      ? read(field(parsed, 'blobs') ?? [], what, 'blobs')
      : read([field(parsed, 'config'), ...read(field(parsed, 'layers'), what, 'layers')], what, 'layers and config');
  const isForeign = ({ urls = [] }: (typeof parts)[number]) => urls.length > 0;
  return {
    manifests: [],
    blobs: parts.filter((part) => !isForeign(part)).map(bare),
    foreign: parts.filter(isForeign).map(bare),
  };
}
