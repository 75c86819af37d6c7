import type { TrustMaterial } from '@sigstore/verify';
import { stalled } from '#core/domain/errors.ts';
import { verifyBytes } from './cosign-key.ts';
import { refused, shown } from './cosign-refusal.ts';
import { certificateOf, type Signed } from './cosign-signed.ts';
import { readIdentity, type CertificateIdentity } from './keyless-certificate.ts';
import { exactly, wholePattern, type Matcher } from '../patterns.ts';
import type { Identity } from './verdict.ts';

/** An identity of a policy: both have to match. */
export interface IdentityMatcher {
  issuer: Matcher;
  subject: Matcher;
}

function oneOf(what: string, exact: string | undefined, pattern: string | undefined): Matcher {
  if ((exact === undefined) === (pattern === undefined)) {
    throw stalled('SpecInvalid', `an identity needs exactly one of ${what} and ${what}Pattern`);
  }
  if (pattern !== undefined) return wholePattern(pattern, `${what}Pattern`);
  if (exact === undefined || exact === '') throw stalled('SpecInvalid', `the ${what} of an identity is empty`);
  return exactly(exact);
}

/** @throws ReconcileError stalled SpecInvalid without an issuer or a subject: any identity at all would count */
export function identityMatcher(identity: Identity): IdentityMatcher {
  return {
    issuer: oneOf('issuer', identity.issuer, identity.issuerPattern),
    subject: oneOf('subject', identity.subject, identity.subjectPattern),
  };
}

/** The signed thing as the library takes it; signatures are checked by us, with the hashes the key may use. */
async function toEntity(signed: Signed) {
  const { toSignedEntity } = await import('@sigstore/verify');
  const entity = toSignedEntity(signed.bundle, signed.bytes);
  const { signature: inner } = entity;
  const signature = {
    signature: inner.signature,
    compareSignature: (other: Buffer) => inner.compareSignature(other),
    compareDigest: (digest: Buffer) => inner.compareDigest(digest),
    compareSignedDigest: (digest: Buffer) => inner.compareSignedDigest(digest),
    verifySignature: (key: Parameters<typeof verifyBytes>[0]) => verifyBytes(key, signed.bytes, inner.signature),
  };
  return { ...entity, signature };
}

/** Runs a check of the library. Whatever it stumbles over in what a stranger attached is a refusal. */
async function held(check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
    const why = `${error instanceof Error ? error.message : String(error)}${cause}`;
    throw refused(why.replace(/\p{C}/gu, ' ').slice(0, 300), error);
  }
}

/**
 * Whether the signature of a key is in a transparency log of the trusted root.
 * @throws ReconcileError stalled SignatureInvalid
 */
export async function checkLogged(signed: Signed, key: Parameters<typeof verifyBytes>[0], root: TrustMaterial) {
  await held(async () => {
    const { Verifier } = await import('@sigstore/verify');
    const material: TrustMaterial = { ...root, publicKey: () => ({ publicKey: key, validFor: () => true }) };
    const verifier = new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 0, timestampThreshold: 0 });
    verifier.verify({ ...(await toEntity(signed)), key: { $case: 'public-key', hint: '' }, timestamps: [] });
  });
}

/**
 * Who signed, by a certificate that leads to the trusted root, was logged as issued, and was valid at the time the
 * signature was logged or stamped: one log, one certificate log and one time at least, all offline.
 * @throws ReconcileError stalled SignatureInvalid
 */
export async function verifyCertificate(signed: Signed, root: TrustMaterial): Promise<CertificateIdentity> {
  const certificate = certificateOf(signed);
  if (certificate === undefined) throw refused('it is signed with a key, and the policy asks for an identity');
  await held(async () => {
    const { Verifier } = await import('@sigstore/verify');
    const thresholds = { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 };
    new Verifier(root, thresholds).verify(await toEntity(signed));
  });
  return readIdentity(certificate);
}

/** Whether the identity is any one of the policy's. @throws ReconcileError stalled SignatureInvalid, saying who signed */
export function checkIdentity({ subject, issuer }: CertificateIdentity, matchers: readonly IdentityMatcher[]): void {
  if (matchers.some((matcher) => matcher.subject(subject) && matcher.issuer(issuer))) return;
  throw refused(
    `it is signed by ${shown(subject)} as issuer ${shown(issuer)}, which is none of the identities asked for`,
  );
}
