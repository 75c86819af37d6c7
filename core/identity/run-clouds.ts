import { assumeRole, callerIdentity, type AssumedRole, type AwsKeys, type RoleWish } from './aws-sts.ts';
import { createPrincipalLookup, principalOf, type IdentityParts } from './principal.ts';

/** One question to a cloud about an identity of a run. */
export interface CloudQuestion {
  /** What the identity is called in messages: `secret deploy`. */
  what: string;
  signal: AbortSignal;
}

/** What a worker asks clouds about the identities of runs; a process makes one. */
export interface RunClouds {
  /** See `principalOf` in ./principal.ts. */
  principal(parts: IdentityParts, question: CloudQuestion): Promise<string | undefined>;
  /** See `assumeRole` in ./aws-sts.ts. */
  assumeRole(keys: AwsKeys, region: string | undefined, wish: RoleWish, signal: AbortSignal): Promise<AssumedRole>;
}

/** Asks AWS itself, or an origin in its place; the latter is for tests. */
export function createRunClouds(options: { stsEndpoint?: string } = {}): RunClouds {
  const endpoint = options.stsEndpoint;
  const lookup = createPrincipalLookup(callerIdentity);
  return {
    principal: (parts, question) => principalOf(parts, lookup, { ...question, endpoint }),
    assumeRole: (keys, region, wish, signal) => assumeRole(keys, { region, endpoint, signal }, wish),
  };
}
