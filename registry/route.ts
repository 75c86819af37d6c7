import { RegistryError } from './errors.ts';
import { isRepositoryName, isTag, parseDigest, type Digest } from './names.ts';

/** What a manifest is asked for by. */
export type Reference = { tag: string } | { digest: Digest };

/** An endpoint of distribution-spec 1.1 "Endpoints" with its checked parameters. */
export type Route =
  | { kind: 'base' }
  | { kind: 'tags'; name: string }
  | { kind: 'manifest'; name: string; reference: Reference }
  | { kind: 'referrers'; name: string; digest: Digest }
  | { kind: 'uploads'; name: string }
  | { kind: 'upload'; name: string; id: string }
  | { kind: 'blob'; name: string; digest: Digest };

/**
 * Reads the path of a request; undefined when it is no endpoint.
 * @throws RegistryError NAME_INVALID, DIGEST_INVALID, MANIFEST_INVALID (the tag).
 */
export function parseRoute(path: string): Route | undefined {
  if (path === '/v2' || path === '/v2/') return { kind: 'base' };
  // Repository names may hold these words too: the greedy first part takes the last one in the path.
  const match = /^\/v2\/(.+)\/(tags\/list|manifests|referrers|blobs\/uploads|blobs)(?:\/([^/]*))?$/.exec(path);
  const [, name = '', endpoint, last = ''] = match ?? [];
  if (endpoint === undefined) return undefined;
  if (!isRepositoryName(name)) throw new RegistryError('NAME_INVALID', 'the repository name is not valid');
  const reference = decode(last);
  switch (endpoint) {
    case 'tags/list':
      return last === '' ? { kind: 'tags', name } : undefined;
    case 'manifests':
      return { kind: 'manifest', name, reference: parseReference(reference) };
    case 'referrers':
      return { kind: 'referrers', name, digest: requireDigest(reference) };
    case 'blobs/uploads':
      return last === '' ? { kind: 'uploads', name } : { kind: 'upload', name, id: reference };
    default:
      return { kind: 'blob', name, digest: requireDigest(reference) };
  }
}

/** @throws RegistryError DIGEST_INVALID when it is no sha256 or sha512 digest. */
export function requireDigest(text: string): Digest {
  const digest = parseDigest(text);
  if (digest === undefined) throw new RegistryError('DIGEST_INVALID', 'this is no sha256 or sha512 digest');
  return digest;
}

function parseReference(text: string): Reference {
  if (text.includes(':')) return { digest: requireDigest(text) };
  if (!isTag(text)) throw new RegistryError('MANIFEST_INVALID', 'the tag is not valid');
  return { tag: text };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
