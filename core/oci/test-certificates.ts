import 'reflect-metadata';
import { KeyObject, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

/** A certificate and its key, as PEM. */
export interface TestCertificate {
  cert: string;
  key: string;
}

export interface TestAuthority extends TestCertificate {
  /** For 127.0.0.1 as a server, or for a client. */
  issue(use: 'server' | 'client'): Promise<TestCertificate>;
}

async function make(
  name: string,
  extensions: x509.Extension[],
  issuer?: { name: string; keys: webcrypto.CryptoKeyPair },
): Promise<TestCertificate & { keys: webcrypto.CryptoKeyPair }> {
  const keys = await webcrypto.subtle.generateKey(ECDSA, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex'),
    subject: `CN=${name}`,
    issuer: `CN=${issuer?.name ?? name}`,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: ECDSA,
    extensions,
  });
  const key = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString();
  return { cert: certificate.toString('pem'), key, keys };
}

/** A certificate authority that nobody else trusts. */
export async function createTestAuthority(name = 'test authority'): Promise<TestAuthority> {
  const { keys, ...own } = await make(name, [
    new x509.BasicConstraintsExtension(true, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
  ]);
  return {
    ...own,
    async issue(use) {
      const usage = use === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth;
      const extensions: x509.Extension[] = [new x509.ExtendedKeyUsageExtension([usage])];
      if (use === 'server')
        extensions.push(new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]));
      const { cert, key } = await make(use, extensions, { name, keys });
      return { cert, key };
    },
  };
}
