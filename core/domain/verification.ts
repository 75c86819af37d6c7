import { parseDuration } from './duration.ts';
import { DEFAULTS, type StackSpec, type TenantSpec } from './manifest.ts';
import type { CosignPolicy, VerifyPolicy } from './verify-policy.ts';
import { digestOf } from './plan.ts';
import type { Reason } from './reason.ts';

/** Who vouches for a digest; shown to people on the plan. Holds nothing secret. */
export interface Signer {
  format: 'cosign-bundle' | 'cosign-legacy' | 'notation';
  /** `key release-key`, `https://… as issuer …`, `C=…, O=…`; for an attestation also what it says. */
  name: string;
  /** Digest that was signed. */
  digest: string;
  /** What is signed: the artifact itself, or a statement about it by its predicate type. */
  statement: string;
  /** Until when the verdict holds, where it depends on the time. */
  validUntil?: Date;
}

/** What a stack's artifacts must meet, and whose word that is. */
export type Trust =
  | { type: 'policy'; policy: VerifyPolicy; from: 'stack' | 'tenant' }
  | { type: 'unsigned'; reason: string; from: 'stack' | 'tenant' }
  /** Signatures are required and nobody said whose. */
  | { type: 'unset' };

function asksForSomething(policy: VerifyPolicy | undefined): policy is VerifyPolicy {
  return policy?.cosign !== undefined || policy?.notation !== undefined || policy?.attestations !== undefined;
}

/** The stack's own policy, else its tenant's; without any, signatures are required unless the tenant says otherwise. */
export function trustOf(spec: StackSpec, tenant: TenantSpec): Trust {
  const own = spec.source.verify;
  if (own?.unsigned !== undefined) return { type: 'unsigned', reason: own.unsigned.reason, from: 'stack' };
  if (asksForSomething(own)) return { type: 'policy', policy: own, from: 'stack' };
  if (tenant.verify?.unsigned !== undefined)
    return { type: 'unsigned', reason: tenant.verify.unsigned.reason, from: 'tenant' };
  if (asksForSomething(tenant.verify)) return { type: 'policy', policy: tenant.verify, from: 'tenant' };
  if ((tenant.signatures ?? DEFAULTS.signatures) === 'required') return { type: 'unset' };
  return { type: 'unsigned', reason: 'signatures are optional in this tenant', from: 'tenant' };
}

function cosignSecrets(policy: CosignPolicy | undefined): string[] {
  return [...(policy?.keys ?? []), ...(policy?.trustedRoot === undefined ? [] : [policy.trustedRoot])];
}

/** Names of the secrets a policy takes its keys, roots and certificates from. */
export function policySecrets(policy: VerifyPolicy | undefined): string[] {
  const attestations = (policy?.attestations ?? []).flatMap((attestation) => cosignSecrets(attestation.cosign));
  const named = [...cosignSecrets(policy?.cosign), ...(policy?.notation?.trustStores ?? []), ...attestations];
  return [...new Set(named)].sort();
}

/** Grows when what we check changes, so that no verdict of an older, laxer check is believed. */
const CHECKS_VERSION = 1;

/** Key under which a verdict is kept: the policy and the versions of the secrets it names. */
export function trustKey(trust: Trust, secretVersions: Record<string, number>): string {
  return digestOf({ checks: CHECKS_VERSION, trust, secretVersions });
}

/** What is known about the signatures of the revision a stack resolved to. */
export interface Verification {
  /** Of the revision, and `trustKey` of what it was held against. */
  digest: string;
  trustKey: string;
  state: 'verified' | 'unsigned' | 'missing' | 'refused' | 'unset';
  message: string;
  signers: Signer[];
  /** Looks without success, and the time of the first, ISO 8601. */
  attempts: number;
  since: string;
  /** When it is looked at again by itself, ISO 8601; null: with the next poll or when asked. */
  nextAt: string | null;
}

/** Whether a run may use the revision. */
export function isTrusted(verification: Pick<Verification, 'state'>): boolean {
  return verification.state === 'verified' || verification.state === 'unsigned';
}

const FIRST_LOOK_MS = 2_000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * When a signature that is not there yet is looked for again: after 2 s, doubling to a minute, for as long as the policy
 * waits (10 m by default) since the first look; null when that time is over.
 */
export function nextLook(policy: VerifyPolicy, failed: { attempts: number; since: Date }, now: Date): Date | null {
  const end = failed.since.getTime() + parseDuration(policy.wait ?? DEFAULTS.signatureWait);
  const pause = Math.min(FIRST_LOOK_MS * 2 ** (failed.attempts - 1), LONGEST_PAUSE_MS);
  if (now.getTime() >= end) return null;
  return new Date(Math.min(now.getTime() + pause, end));
}

/** The reason that goes with a state, the same word in conditions and events. */
export function verificationReason(state: Verification['state']): Reason {
  const reasons = {
    verified: 'Verified',
    unsigned: 'Unsigned',
    missing: 'SignatureMissing',
    refused: 'SignatureInvalid',
    unset: 'PolicyUnset',
  } as const satisfies Record<Verification['state'], Reason>;
  return reasons[state];
}

/** Reasons that say something about the signatures of one digest: another digest is another matter. */
export const SIGNATURE_FAILURES: ReadonlySet<Reason> = new Set(['SignatureMissing', 'SignatureInvalid', 'PolicyUnset']);

/** Whether a verdict still stands: some hold only until a certificate ends or a scan is too old. */
export function stillStands({ signers }: Pick<Verification, 'signers'>, now: Date): boolean {
  return signers.every(({ validUntil }) => validUntil === undefined || new Date(validUntil) > now);
}

/** One line for people: who signed, or that nobody had to. */
export function saySigners(verification: Pick<Verification, 'state' | 'message' | 'signers'>): string {
  if (verification.state === 'verified') return `signed by ${verification.signers.map(({ name }) => name).join(', ')}`;
  if (verification.state === 'unsigned') return `UNSIGNED: ${verification.message}`;
  return verification.message;
}

/** Whether a tag is promised never to move. Full versions (`1.4.0`, `v1.4.0-rc.1`) are, unless the stack says otherwise. */
export function isImmutableTag(tag: string, rule: 'semver' | 'all' | 'none'): boolean {
  if (rule !== 'semver') return rule === 'all';
  return /^v?\d+\.\d+\.\d+([-_+][0-9A-Za-z.-]+)?$/.test(tag);
}
