import type { Repository } from '#core/domain/reference.ts';

/** OCI descriptor (image-spec descriptor.md): the one value type of the registry side. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}

export type { Repository };

/** Turns a tag or digest into a descriptor; the tag is asked for once, everything after uses the digest. */
export interface Resolver {
  /** @throws ReconcileError SourceNotFound | SourceUnauthorized | SourceUnreachable */
  resolve(repository: Repository, reference: string, signal: AbortSignal): Promise<Descriptor>;
  /** All tags, pages followed. */
  tags(repository: Repository, signal: AbortSignal): Promise<string[]>;
}

/** Fetches content; what it yields has been checked against size and digest by the time the stream ends. */
export interface Fetcher {
  manifest(repository: Repository, digest: string, signal: AbortSignal): Promise<{ bytes: Buffer; mediaType: string }>;
  blob(repository: Repository, descriptor: Descriptor, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

export interface RegistryCredentials {
  username: string;
  password: string;
}

/** Pushes content. Everything is addressed by digest; only `pushManifest` moves a name. */
export interface Pusher {
  /** Does nothing when the repository has the blob already. */
  pushBlob(repository: Repository, bytes: Buffer, signal: AbortSignal): Promise<{ digest: string; existed: boolean }>;
  /** `reference` is a tag or the digest of the bytes. */
  pushManifest(
    repository: Repository,
    reference: string,
    manifest: { bytes: Buffer; mediaType: string },
    signal: AbortSignal,
  ): Promise<Descriptor>;
}
