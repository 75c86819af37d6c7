import type { TrustMaterial } from '@sigstore/verify';
import { ReconcileError, stalled } from '#core/domain/errors.ts';
import { readPublicKeys, verifyBytes, type TrustedKey } from './cosign-key.ts';
import { refused, shown } from './cosign-refusal.ts';
import { certificateOf, hintIn, signatureOf, type Signed } from './cosign-signed.ts';
import type { CertificateIdentity } from './keyless-certificate.ts';
import { checkIdentity, checkLogged, identityMatcher, verifyCertificate, type IdentityMatcher } from './keyless.ts';
import { readTrustedRoot } from './trusted-root.ts';
import type { CosignTrust } from './verdict.ts';

/** A policy's trust, read and checked. */
export interface Trust {
  keys: TrustedKey[];
  identities: IdentityMatcher[];
  root: TrustMaterial | undefined;
  requireLog: boolean;
}

/** Whose word something is. */
export interface Voucher {
  /** `key release-key`, or `https://… as issuer https://…`. */
  name: string;
  certificate: CertificateIdentity | undefined;
}

/**
 * Reads keys, identities and root of a policy.
 * @throws ReconcileError stalled SpecInvalid when a part of it is missing or cannot be read
 */
export async function readTrust(policy: CosignTrust): Promise<Trust> {
  const keys = policy.keys.flatMap(readPublicKeys);
  const identities = policy.identities.map(identityMatcher);
  if (keys.length === 0 && identities.length === 0) {
    throw stalled('SpecInvalid', 'the cosign policy names neither keys nor identities, so nobody could sign');
  }
  const needsRoot = identities.length > 0 || (policy.requireLog && keys.length > 0);
  const root = needsRoot
    ? await readTrustedRoot(policy.trustedRoot, { certificates: identities.length > 0 })
    : undefined;
  return { keys, identities, root, requireLog: policy.requireLog };
}

async function byKey(signed: Signed, { keys, root, requireLog }: Trust): Promise<Voucher | undefined> {
  const signature = signatureOf(signed);
  const found = keys.find(({ key }) => verifyBytes(key, signed.bytes, signature));
  if (found === undefined) return undefined;
  const name = `key ${found.name}`;
  if (!requireLog || root === undefined) return { name, certificate: undefined };
  try {
    await checkLogged(signed, found.key, root);
  } catch (error) {
    if (!(error instanceof ReconcileError)) throw error;
    throw refused(`it is signed by ${name}, but is in no transparency log that counts: ${error.message}`, error);
  }
  return { name, certificate: undefined };
}

/** Why no key counts: a changed payload, somebody else's key, or a certificate where keys are asked for. */
function keyRefusal(signed: Signed, { keys }: Trust): ReconcileError {
  if (certificateOf(signed) !== undefined)
    return refused('it is signed with a certificate, and none of the keys made it');
  const hint = hintIn(signed);
  const named = keys.find((key) => key.hint === hint);
  if (named !== undefined)
    return refused(`it claims to be signed by key ${named.name}, and its signature does not hold`);
  const other = hint === '' ? 'another key, or changed since' : `another key (${shown(hint)})`;
  return refused(`it is signed with ${other}, none of ${keys.map(({ name }) => name).join(', ')}`);
}

/**
 * Finds out whose signature it is: a key's, or that of an identity with a certificate.
 * @throws ReconcileError stalled SignatureInvalid when it is nobody's that the policy asks for
 */
export async function vouch(signed: Signed, trust: Trust): Promise<Voucher> {
  const voucher = await byKey(signed, trust);
  if (voucher !== undefined) return voucher;
  if (trust.identities.length === 0 || trust.root === undefined) throw keyRefusal(signed, trust);
  if (certificateOf(signed) === undefined && trust.keys.length > 0) throw keyRefusal(signed, trust);
  const certificate = await verifyCertificate(signed, trust.root);
  checkIdentity(certificate, trust.identities);
  return { name: `${certificate.subject} as issuer ${certificate.issuer}`, certificate };
}
