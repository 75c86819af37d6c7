import type { Signer } from '#core/domain/verification.ts';
import type { Fetcher, ReferrerLister, Repository, Resolver } from '../port.ts';

export type { Signer };

/** Where signatures are looked for, and of what. */
export interface VerifyContext {
  source: Resolver & Fetcher & ReferrerLister;
  repository: Repository;
  /** Digest whose signatures count: of the manifest or index a stack resolved to. */
  digest: string;
  now: Date;
  signal: AbortSignal;
}

/** What one block of a policy came to. */
export type Verdict =
  | { type: 'verified'; signers: Signer[] }
  /** Nothing of the kind is attached (yet). */
  | { type: 'missing'; message: string }
  /** Something is attached and none of it counts; says why, for the first few. */
  | { type: 'refused'; message: string };

/** A cosign identity: exact text or an RE2 pattern that must match the whole (anchored by us). */
export interface Identity {
  issuer?: string;
  issuerPattern?: string;
  subject?: string;
  subjectPattern?: string;
}

/** Whose cosign signatures count; any one of the keys or identities is enough. */
export interface CosignTrust {
  keys: { name: string; pem: string }[];
  identities: Identity[];
  /** Parsed trusted_root.json for identities (media type application/vnd.dev.sigstore.trustedroot…). */
  trustedRoot: unknown;
  /** Whether a signature by key must also be in a transparency log of the trusted root. */
  requireLog: boolean;
}

/** Notation trust policy (notaryproject/specifications, trust-store-trust-policy.md). */
export interface NotationTrust {
  level: 'strict' | 'permissive';
  /** Roots (and self-signed leaves), PEM, by the name of their store. */
  stores: { name: string; pem: string }[];
  /** `x509.subject: C=…, O=…` or `*`. */
  identities: string[];
}

/** What an attestation must say. Texts are exact, or RE2 patterns between slashes (`/…/`), anchored by us. */
export interface AttestationRequirement {
  type: 'slsa-provenance' | 'sbom' | 'vulnerabilities' | 'custom';
  /** Predicate type, for `custom`. */
  predicateType?: string;
  signedBy: CosignTrust;
  builders?: string[];
  buildTypes?: string[];
  sourceRepositories?: string[];
  sourceRefs?: string[];
  /** URIs that every resolved dependency must be one of; each needs a digest. */
  materials?: string[];
  /** Vulnerabilities: the highest severity that may be found. */
  maxSeverity?: 'none' | 'low' | 'medium' | 'high';
  /** Fields of the predicate, by dotted path, that must be as said. */
  fields?: { path: string; equals: string | number | boolean }[];
}
