/** OCI descriptor (image-spec descriptor.md): the one value type of the registry side. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  artifactType?: string;
  annotations?: Record<string, string>;
}

/** `host[:port]/name`, without scheme, tag or digest. */
export interface Repository {
  host: string;
  name: string;
}

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
