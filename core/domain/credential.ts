import type { CredentialSource, StackSpec } from './manifest.ts';

/** The Secret a credential is read from; undefined where a token of the run takes its place. */
export function secretOf(source: CredentialSource | undefined): string | undefined {
  if (source === undefined || typeof source === 'string') return source;
  return source.secret;
}

/** Names of the secrets the two identities of a spec are made from. */
export function credentialSecrets(spec: Pick<StackSpec, 'credentials'>): string[] {
  const { plan, apply } = spec.credentials ?? {};
  return [secretOf(plan), secretOf(apply)].filter((name) => name !== undefined);
}
