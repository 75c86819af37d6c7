import type { ArtifactCaps } from '#core/domain/manifest.ts';
import type { Static } from 'typebox';

/** What an artifact may cost before it is refused. */
export interface ArtifactLimits {
  /** Bytes of all layers as they are stored. */
  maxCompressedBytes: number;
  /** Bytes of all files once unpacked, tar padding included. */
  maxUnpackedBytes: number;
  maxFileBytes: number;
  /** Files, folders and links. */
  maxEntries: number;
  /** UTF-8 bytes of a path. */
  maxPathBytes: number;
  maxDepth: number;
  /** Unpacked to stored bytes, looked at once more than 16 MiB are unpacked. */
  maxRatio: number;
}

const MIB = 1024 * 1024;

export const DEFAULT_LIMITS: ArtifactLimits = {
  maxCompressedBytes: 256 * MIB,
  maxUnpackedBytes: 1024 * MIB,
  maxFileBytes: 512 * MIB,
  maxEntries: 100_000,
  maxPathBytes: 1024,
  maxDepth: 64,
  maxRatio: 200,
};

/** The caps of a tenant's spec as limits; what it does not say is left to the worker. */
export function tenantLimits(caps: Static<typeof ArtifactCaps>): Partial<ArtifactLimits> {
  const { maxArtifactMb, maxUnpackedMb, maxEntries, maxDepth, maxRatio } = caps;
  return {
    ...(maxArtifactMb === undefined ? {} : { maxCompressedBytes: maxArtifactMb * MIB }),
    ...(maxUnpackedMb === undefined ? {} : { maxUnpackedBytes: maxUnpackedMb * MIB }),
    ...(maxEntries === undefined ? {} : { maxEntries }),
    ...(maxDepth === undefined ? {} : { maxDepth }),
    ...(maxRatio === undefined ? {} : { maxRatio }),
  };
}

/** The lower of each limit: a tenant's caps are never above those of the worker. */
export function lowerLimits(limits: ArtifactLimits, caps: Partial<ArtifactLimits>): ArtifactLimits {
  const lower = (name: keyof ArtifactLimits) => Math.min(limits[name], caps[name] ?? limits[name]);
  return {
    maxCompressedBytes: lower('maxCompressedBytes'),
    maxUnpackedBytes: lower('maxUnpackedBytes'),
    maxFileBytes: lower('maxFileBytes'),
    maxEntries: lower('maxEntries'),
    maxPathBytes: lower('maxPathBytes'),
    maxDepth: lower('maxDepth'),
    maxRatio: lower('maxRatio'),
  };
}
