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
