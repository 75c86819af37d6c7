import { ReconcileError } from '#core/domain/errors.ts';
import { refused } from './cosign-refusal.ts';

/** Extensions of Fulcio's certificates (sigstore/fulcio docs/oid-info.md). */
export const FULCIO = {
  issuerV1: '1.3.6.1.4.1.57264.1.1',
  issuer: '1.3.6.1.4.1.57264.1.8',
  sourceRepository: '1.3.6.1.4.1.57264.1.12',
  sourceDigest: '1.3.6.1.4.1.57264.1.13',
  sourceRef: '1.3.6.1.4.1.57264.1.14',
} as const;

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const UTF8_STRING = 0x0c;

/** Who a certificate of a Sigstore says signed. */
export interface CertificateIdentity {
  /** The one name of its subject alternative name: an address or URI. */
  subject: string;
  /** Who the signer logged in with. */
  issuer: string;
  sourceRepository: string | undefined;
  sourceDigest: string | undefined;
  sourceRef: string | undefined;
}

async function loadParser() {
  // @peculiar/x509 injects through tsyringe, which does not load without this.
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true });

/** A DER UTF8String that fills the whole of the extension's value. */
function utf8String(der: Uint8Array): string {
  const [tag, length = 0] = der;
  const long = length > 0x80 ? length - 0x80 : 0;
  const size = long === 0 ? length : Buffer.from(der).readUIntBE(2, long);
  if (tag !== UTF8_STRING || length === 0x80 || long > 4 || der.byteLength !== 2 + long + size) {
    throw refused('an extension of its certificate is no UTF8String');
  }
  return strictUtf8.decode(der.subarray(2 + long));
}

/**
 * Reads the identity of a certificate whose chain has been verified. Read by ourselves: the library decodes names as
 * ASCII and takes the first of several.
 * @throws ReconcileError stalled SignatureInvalid when it names nobody, or more than one
 */
export async function readIdentity(der: Uint8Array): Promise<CertificateIdentity> {
  const parser = await loadParser();
  try {
    const certificate = new parser.X509Certificate(Uint8Array.from(der));
    const ids = certificate.extensions.map(({ type }) => type);
    if (new Set(ids).size !== ids.length) throw refused('its certificate has an extension twice');
    const usages = certificate.getExtension(parser.ExtendedKeyUsageExtension)?.usages.map(String) ?? [];
    if (!usages.includes(CODE_SIGNING)) throw refused('its certificate is not for code signing');
    const names = certificate.getExtension(parser.SubjectAlternativeNameExtension)?.names.items ?? [];
    const [name] = names;
    if (name === undefined || names.length !== 1 || (name.type !== 'url' && name.type !== 'email')) {
      throw refused('its certificate does not name exactly one address or URI as its subject');
    }
    const extension = (oid: string) => certificate.getExtension(oid)?.value;
    const text = (oid: string) => {
      const value = extension(oid);
      return value === undefined ? undefined : utf8String(new Uint8Array(value));
    };
    const older = extension(FULCIO.issuerV1);
    const issuer = text(FULCIO.issuer) ?? (older === undefined ? undefined : strictUtf8.decode(older));
    if (issuer === undefined || issuer === '') throw refused('its certificate names no issuer of the identity');
    // They are shown to people, and no identity of a person or workflow has any.
    if (/\p{C}/u.test(name.value + issuer)) throw refused('its certificate has control characters in its names');
    return {
      subject: name.value,
      issuer,
      sourceRepository: text(FULCIO.sourceRepository),
      sourceDigest: text(FULCIO.sourceDigest),
      sourceRef: text(FULCIO.sourceRef),
    };
  } catch (error) {
    if (error instanceof ReconcileError) throw error;
    throw refused('its certificate cannot be read', error);
  }
}
