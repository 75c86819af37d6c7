import type { KeyObject } from 'node:crypto';
import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import type { Certificate } from './notation-certificate.ts';
import { formatSubject } from './notation-identity.ts';

/** Bits of the key usage extension (RFC 5280 section 4.2.1.3). */
const DIGITAL_SIGNATURE = 1;
const NON_REPUDIATION = 2;
const KEY_CERT_SIGN = 32;

const SAFE_HASHES: ReadonlySet<string> = new Set(['SHA-256', 'SHA-384', 'SHA-512']);
/** Purposes a signing certificate must not have: any, TLS server and client, mail, time stamping, OCSP. */
const OTHER_PURPOSES: ReadonlySet<string> = new Set([
  '2.5.29.37.0',
  ...['1', '2', '4', '8', '9'].map((purpose) => `1.3.6.1.5.5.7.3.${purpose}`),
]);
const RSA_ALGORITHMS: Readonly<Record<string, string>> = { 2048: 'PS256', 3072: 'PS384', 4096: 'PS512' };
const EC_ALGORITHMS: Readonly<Record<string, string>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};

function refused(certificate: Certificate, why: string): ReconcileError {
  return stalled('SignatureInvalid', `the certificate ${formatSubject(certificate.subject)} ${why}`);
}

/** The one JWS algorithm a key may sign with (signature-specification.md, "Algorithm Selection"). */
export function algorithmOf(key: KeyObject): string | undefined {
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa') return RSA_ALGORITHMS[modulusLength ?? 0];
  return key.asymmetricKeyType === 'ec' ? EC_ALGORITHMS[namedCurve ?? ''] : undefined;
}

function isStrong(key: KeyObject): boolean {
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa' || key.asymmetricKeyType === 'rsa-pss') return modulusLength >= 2048;
  return key.asymmetricKeyType === 'ec' && namedCurve in EC_ALGORITHMS;
}

function checkAny(certificate: Certificate): void {
  if (!SAFE_HASHES.has(certificate.hash)) {
    throw refused(certificate, 'is not signed with SHA-256, SHA-384 or SHA-512');
  }
  if (!isStrong(certificate.x509.publicKey)) {
    throw refused(certificate, 'has a key that is weaker than RSA 2048 or EC 256, or of another kind');
  }
  if (certificate.keyUsage?.critical !== true) {
    throw refused(certificate, 'has no key usage extension that is marked critical');
  }
}

function checkLeaf(leaf: Certificate): void {
  if (leaf.basicConstraints?.ca === true)
    throw refused(leaf, 'signed the artifact and is a CA, not a signing certificate');
  const bits = leaf.keyUsage?.bits ?? 0;
  if ((bits & DIGITAL_SIGNATURE) === 0) throw refused(leaf, 'may not make digital signatures (key usage)');
  if ((bits & ~(DIGITAL_SIGNATURE | NON_REPUDIATION)) !== 0) {
    throw refused(leaf, 'is for more than digital signatures (key usage)');
  }
  const other = leaf.purposes.find((purpose) => OTHER_PURPOSES.has(purpose));
  if (other !== undefined)
    throw refused(leaf, `is for something other than code signing (extended key usage ${other})`);
}

/** `below` is the number of CAs between this one and the leaf. */
function checkAuthority(authority: Certificate, below: number): void {
  const { basicConstraints, keyUsage } = authority;
  if (basicConstraints?.critical !== true || !basicConstraints.ca) {
    throw refused(authority, 'issued another and is no CA (basic constraints, marked critical)');
  }
  if (((keyUsage?.bits ?? 0) & KEY_CERT_SIGN) === 0) {
    throw refused(authority, 'issued another and may not sign certificates (key usage)');
  }
  if (basicConstraints.pathLength !== undefined && basicConstraints.pathLength < below) {
    throw refused(authority, `allows ${basicConstraints.pathLength} CAs below it and there are ${below}`);
  }
}

function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  return certificate.x509.checkIssued(issuer.x509) && certificate.x509.verify(issuer.x509.publicKey);
}

/** A self-signed signing certificate has no right to sign certificates, so `checkIssued` would not do. */
function isSelfSigned(certificate: Certificate): boolean {
  return certificate.x509.subject === certificate.x509.issuer && certificate.x509.verify(certificate.x509.publicKey);
}

function checkIssuer(certificate: Certificate, issuer: Certificate | undefined): void {
  if (issuer === undefined) {
    if (!isSelfSigned(certificate)) throw refused(certificate, 'ends the chain and is no self-signed root');
    return;
  }
  if (isSelfSigned(certificate)) throw refused(certificate, 'is self-signed and not the last of its chain');
  if (!isIssuedBy(certificate, issuer)) {
    throw refused(certificate, `was not issued by the next of its chain, ${formatSubject(issuer.subject)}`);
  }
}

/**
 * Checks a chain, leaf first and self-signed root last, by the rules of notaryproject/specifications
 * signature-specification.md, "Certificate Requirements"; a self-signed signing certificate may stand alone. Neither
 * time nor trust is looked at here.
 * @throws ReconcileError stalled SignatureInvalid
 */
export function checkChain(chain: readonly Certificate[]): void {
  for (const [index, certificate] of chain.entries()) {
    checkAny(certificate);
    if (index === 0) checkLeaf(certificate);
    else checkAuthority(certificate, index - 1);
  }
  for (const [index, certificate] of chain.entries()) checkIssuer(certificate, chain[index + 1]);
}
