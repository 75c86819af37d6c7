import { Type } from 'typebox';
import { Value } from 'typebox/value';
import { stalled } from '#core/domain/errors.ts';
import { Digest } from '#core/domain/manifest.ts';
import { field, parseJson } from './body.ts';
import { bareType, MANIFEST_TYPES, OCI_INDEX } from './media-types.ts';
import type { Descriptor } from './port.ts';

/** More than anybody attaches to one digest; whoever may push must not choose how long we read. */
const MAX_REFERRERS = 10_000;

const Referrer = Type.Object({
  mediaType: Type.String({ minLength: 1, maxLength: 255 }),
  digest: Digest,
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  artifactType: Type.Optional(Type.String({ maxLength: 255 })),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
});

/** Referrers gathered from pages or a tag, each once. */
export interface ReferrerList {
  /** @throws ReconcileError stalled ArtifactInvalid | ArtifactTooLarge */
  addPage(bytes: Buffer): void;
  all(): Descriptor[];
}

/**
 * Collects the `manifests` of indexes; `what` names them in messages. Entries that are no descriptors of manifests are
 * passed over: they are nothing that can be fetched as a referrer.
 */
export function createReferrerList(what: string): ReferrerList {
  const found = new Map<string, Descriptor>();
  return {
    addPage(bytes) {
      const index = parseJson(bytes);
      // olareg, written in Go as most registries are, says null where there are none.
      const entries = field(index, 'manifests') === null ? [] : field(index, 'manifests');
      const mediaType = field(index, 'mediaType');
      const isIndex = Array.isArray(entries) && field(index, 'layers') === undefined;
      if (!isIndex || (mediaType !== undefined && mediaType !== OCI_INDEX)) {
        throw stalled('ArtifactInvalid', `${what} is no index of manifests; check the registry`);
      }
      for (const entry of entries as unknown[]) {
        if (!Value.Check(Referrer, entry) || !MANIFEST_TYPES.has(entry.mediaType)) continue;
        const { mediaType: type, digest, size, artifactType, annotations } = entry;
        found.set(digest, {
          mediaType: type,
          digest,
          size,
          ...(artifactType === undefined ? {} : { artifactType }),
          ...(annotations === undefined ? {} : { annotations }),
        });
      }
      if (found.size > MAX_REFERRERS) {
        throw stalled('ArtifactTooLarge', `${what} names more than ${MAX_REFERRERS}; remove some from the registry`);
      }
    },
    all: () => [...found.values()],
  };
}

/** What a manifest is: its artifact type, for an image without one the type of its config (image-spec manifest.md). */
export function artifactTypeOf(bytes: Buffer): string | undefined {
  const manifest = parseJson(bytes);
  const own = field(manifest, 'artifactType');
  if (typeof own === 'string' && own !== '') return own;
  const config = field(field(manifest, 'config'), 'mediaType');
  return typeof config === 'string' ? bareType(config) : undefined;
}

/** The descriptor under which a manifest is listed (distribution-spec, "Listing Referrers"). */
export function referrerDescriptor(bytes: Buffer, descriptor: Descriptor): Descriptor {
  const { mediaType, digest, size } = descriptor;
  const artifactType = artifactTypeOf(bytes);
  const found = field(parseJson(bytes), 'annotations');
  const annotations = Value.Check(Type.Record(Type.String(), Type.String()), found) ? found : {};
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}
