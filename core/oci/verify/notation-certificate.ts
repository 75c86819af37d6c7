import { X509Certificate } from 'node:crypto';
import { stalled } from '#core/domain/errors.ts';
import { field } from '../body.ts';
import type { Attribute } from './notation-identity.ts';

/** What of a certificate Notation looks at; other extensions are not evaluated, as its specification demands. */
export interface Certificate {
  x509: X509Certificate;
  subject: Attribute[];
  /** Hash of its own signature, `SHA-256`; empty where it is none we know. */
  hash: string;
  notBefore: Date;
  notAfter: Date;
  basicConstraints: { critical: boolean; ca: boolean; pathLength: number | undefined } | undefined;
  /** Bits of RFC 5280 section 4.2.1.3, `digitalSignature` first. */
  keyUsage: { critical: boolean; bits: number } | undefined;
  /** OIDs of the extended key usage. */
  purposes: string[];
}

/** Names of attributes that the parser leaves as OIDs. */
const ATTRIBUTE_NAMES: Readonly<Record<string, string>> = {
  '2.5.4.5': 'SERIALNUMBER',
  '2.5.4.9': 'STREET',
  '2.5.4.17': 'POSTALCODE',
  '0.9.2342.19200300.100.1.1': 'UID',
};

async function loadParser() {
  // @peculiar/x509 injects through tsyringe, which does not load without this.
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

function attributesOf(name: Record<string, string[]>[]): Attribute[] {
  return name.flatMap((relative) =>
    Object.entries(relative).flatMap(([type, values]) =>
      values.map((value) => ({ type: ATTRIBUTE_NAMES[type] ?? type, value })),
    ),
  );
}

/** The parser's type for this is one of the browser's, so it is read as from outside. */
function hashOf(algorithm: unknown): string {
  const name = field(field(algorithm, 'hash'), 'name');
  return typeof name === 'string' ? name : '';
}

/**
 * Reads a certificate, DER.
 * @throws ReconcileError stalled SignatureInvalid
 */
export async function readCertificate(der: Uint8Array): Promise<Certificate> {
  const parser = await loadParser();
  try {
    const x509 = new X509Certificate(der);
    const parsed = new parser.X509Certificate(x509.raw);
    const ids = parsed.extensions.map(({ type }) => type);
    if (new Set(ids).size !== ids.length) throw new Error('an extension is there twice');
    const constraints = parsed.getExtension(parser.BasicConstraintsExtension);
    const usage = parsed.getExtension(parser.KeyUsagesExtension);
    const purposes = parsed.getExtension(parser.ExtendedKeyUsageExtension);
    return {
      x509,
      subject: attributesOf(parsed.subjectName.toJSON()),
      hash: hashOf(parsed.signatureAlgorithm),
      notBefore: parsed.notBefore,
      notAfter: parsed.notAfter,
      basicConstraints:
        constraints === null
          ? undefined
          : { critical: constraints.critical, ca: constraints.ca, pathLength: constraints.pathLength },
      keyUsage: usage === null ? undefined : { critical: usage.critical, bits: usage.usages },
      purposes: purposes?.usages.map(String) ?? [],
    };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw stalled('SignatureInvalid', `a certificate of its chain cannot be read (${why.slice(0, 120)})`, error);
  }
}
