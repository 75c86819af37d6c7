/** Algorithms a digest may use; both are registered in image-spec descriptor.md. */
const DIGEST_ALGORITHMS = ['sha256', 'sha512'] as const;
type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number];

/** A checked digest: every field is safe to use as a path component. */
export interface Digest {
  algorithm: DigestAlgorithm;
  hex: string;
  /** `algorithm:hex` */
  text: string;
}

const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const HEX_LENGTH = { sha256: 64, sha512: 128 } as const satisfies Record<DigestAlgorithm, number>;

/** Repository names by distribution-spec 1.1 "Pulling manifests", at most 255 characters as clients expect. */
export function isRepositoryName(name: string): boolean {
  return name.length <= 255 && REPOSITORY.test(name);
}

/** Tags by distribution-spec 1.1 "Pulling manifests". */
export function isTag(tag: string): boolean {
  return TAG.test(tag);
}

/** Reads `sha256:…` or `sha512:…`; undefined when it is anything else. */
export function parseDigest(text: string): Digest | undefined {
  const separator = text.indexOf(':');
  const algorithm = DIGEST_ALGORITHMS.find((candidate) => candidate === text.slice(0, separator));
  const hex = text.slice(separator + 1);
  if (algorithm === undefined || hex.length !== HEX_LENGTH[algorithm] || !/^[a-f0-9]+$/.test(hex)) return undefined;
  return { algorithm, hex, text };
}
