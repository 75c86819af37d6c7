import type { Bundle } from '@sigstore/bundle';
import type { Statement } from './statement.ts';

/** Something with a signature, as it is attached; nothing of it has been checked yet. */
export interface Signed {
  format: 'cosign-bundle' | 'cosign-legacy';
  /** Short digest of the manifest or tag it came from, for messages. */
  where: string;
  /** A Sigstore bundle; one put together from annotations for a legacy signature. */
  bundle: Bundle;
  /** What the signature is over, exactly. */
  bytes: Buffer;
  /** What is stated about the artifact; undefined when the artifact itself is signed. */
  statement: Statement | undefined;
}

/** One attached thing: a signature to check, or why it is none. `unread`: it may be what is looked for, and nobody read it. */
export type Attachment = { type: 'signed'; signed: Signed } | { type: 'refused'; why: string; unread: boolean };

/** Predicate types that are looked for. */
export type Wanted = (predicateType: string) => boolean;

/** The signature itself. Bundles have exactly one (sigstore/protobuf-specs, sigstore_bundle.proto). */
export function signatureOf({ bundle: { content } }: Signed): Buffer {
  return content.$case === 'dsseEnvelope'
    ? (content.dsseEnvelope.signatures[0]?.sig ?? Buffer.alloc(0))
    : content.messageSignature.signature;
}

/** The certificate of the signer, DER; undefined when only a key signed. */
export function certificateOf({ bundle }: Signed): Buffer | undefined {
  const { content } = bundle.verificationMaterial;
  switch (content.$case) {
    case 'certificate':
      return content.certificate.rawBytes;
    case 'x509CertificateChain':
      return content.x509CertificateChain.certificates[0]?.rawBytes;
    case 'publicKey':
      return undefined;
  }
}

/** What the bundle says about the key that signed; a hint, never proof. */
export function hintIn({ bundle }: Signed): string {
  const { content } = bundle.verificationMaterial;
  return content.$case === 'publicKey' ? content.publicKey.hint : '';
}
