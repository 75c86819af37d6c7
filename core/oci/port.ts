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
}

/**
 * Fetches what a descriptor names, a manifest or a blob by its media type. What is yielded has been checked against size
 * and digest by the time the stream ends, so nothing may be used before it has ended without an error.
 */
export interface Fetcher {
  /** @throws ReconcileError SourceNotFound | SourceUnauthorized | SourceUnreachable | DigestMismatch | ArtifactTooLarge */
  fetch(repository: Repository, descriptor: Descriptor, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
}

/** Lists the names of a repository. */
export interface TagLister {
  /** All tags, pages followed. */
  tags(repository: Repository, signal: AbortSignal): Promise<string[]>;
}

/** Lists what was attached to a digest: signatures, attestations, evidence. */
export interface ReferrerLister {
  /**
   * Through the referrers API, else the tag scheme `sha256-<hex>` (distribution-spec v1.1.1, "Unavailable Referrers API").
   * Empty when there are none. Filtered here where the registry does not filter.
   */
  referrers(
    repository: Repository,
    digest: string,
    options: { artifactType?: string },
    signal: AbortSignal,
  ): Promise<Descriptor[]>;
}

/** Everything that can be read from a registry or what stands for one. */
export type Source = Resolver & Fetcher & TagLister & ReferrerLister;

/** How a registry is told who we are. */
export type RegistryCredentials =
  | { username: string; password: string }
  /** An OAuth2 refresh token, exchanged for access tokens (`identitytoken` of docker); `username` where only Basic works. */
  | { identityToken: string; username?: string }
  /** A bearer token that is sent as it is (`registrytoken` of docker). */
  | { registryToken: string };

/** What is pushed: opened anew for every attempt. */
export interface Content {
  descriptor: Descriptor;
  open(): AsyncIterable<Uint8Array>;
  /** Name of a repository of the same registry that has the bytes, so that they need not travel. */
  mountFrom?: string;
}

/** Pushes content. Everything is addressed by digest; only a manifest pushed under a tag moves a name. */
export interface Pusher {
  /** Does nothing when the repository has the blob already. */
  pushBlob(repository: Repository, content: Content, signal: AbortSignal): Promise<{ existed: boolean }>;
  /**
   * `reference` is a tag or the digest of the bytes. A manifest with a `subject` is entered into the referrers tag where
   * the registry does not do so itself (no `OCI-Subject` in its answer).
   */
  pushManifest(
    repository: Repository,
    reference: string,
    manifest: { bytes: Buffer; mediaType: string },
    signal: AbortSignal,
  ): Promise<Descriptor>;
}
