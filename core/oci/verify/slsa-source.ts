import { atPath, textAt } from './attestation-predicate.ts';

/** Where a build took its source from, as somebody claims it. */
export interface SourceClaim {
  /** Address without `git+`, ref and `.git`, such as `https://github.com/acme/shop`. */
  repository: string | undefined;
  ref: string | undefined;
  /** Name of the commit. */
  commit: string | undefined;
}

/**
 * An address as builders write it (`git+https://host/path@ref`, `https://host/path.git#ref`). The ref is looked for after
 * the host, so that `https://github.com@evil.example/x` stays what it is.
 */
export function splitAddress(uri: string): { repository: string; ref: string | undefined } {
  const plain = uri.startsWith('git+') ? uri.slice('git+'.length) : uri;
  const scheme = plain.indexOf('://');
  const host = scheme === -1 ? 0 : scheme + '://'.length;
  const path = plain.indexOf('/', host);
  const tail = path === -1 ? '' : plain.slice(path);
  const at = tail.search(/[@#]/);
  const repository = at === -1 ? plain : plain.slice(0, path + at);
  const ref = at === -1 ? '' : tail.slice(at + 1);
  return { repository: repository.replace(/\.git$/, ''), ref: ref === '' ? undefined : ref };
}

/** The commit of a resource descriptor. */
export function commitOf(source: unknown): string | undefined {
  const names = ['gitCommit', 'sha1'] as const;
  return names.map((name) => textAt(source, `digest.${name}`)).find((value) => value !== undefined);
}

/** The source at a path of the parameters: a text, a resource descriptor (`uri`), or repository and ref by name. */
export function sourceAt(parameters: unknown, path: string): SourceClaim | undefined {
  const source = atPath(parameters, path);
  const address =
    typeof source === 'string'
      ? source
      : (textAt(source, 'repository') ??
        textAt(source, 'uri') ??
        textAt(source, 'url') ??
        textAt(source, 'repositoryUri'));
  if (address === undefined) return undefined;
  const { repository, ref } = splitAddress(address);
  return { repository, ref: textAt(source, 'ref') ?? ref, commit: commitOf(source) };
}
