import 'reflect-metadata';
import { createHash, KeyObject, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { FlattenedSign, type JWSHeaderParameters } from 'jose';
import { transient } from '#core/domain/errors.ts';
import type { Descriptor } from '../port.ts';
import { NOTATION_SIGNATURE } from './notation.ts';
import type { NotationTrust, VerifyContext } from './verdict.ts';

export const NOW = new Date('2026-06-01T12:00:00Z');
export const REPOSITORY = { host: 'registry.test', name: 'team/app' };
export const ARTIFACT = describe(Buffer.from('{"the":"artifact"}'), 'application/vnd.oci.image.manifest.v1+json');
export const SCHEME = 'io.cncf.notary.signingScheme';
export const EXPIRY = 'io.cncf.notary.expiry';
const SIGNING_TIME = 'io.cncf.notary.signingTime';

const { digitalSignature, keyCertSign } = x509.KeyUsageFlags;
const CURVES = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const;
const SIZES = { PS256: 2048, PS384: 3072, PS512: 4096 } as const;
type Algorithm = keyof typeof CURVES | keyof typeof SIZES;

export interface Issued {
  certificate: x509.X509Certificate;
  keys: webcrypto.CryptoKeyPair;
  algorithm: Algorithm;
}

export interface CertificateOptions {
  subject?: string | x509.JsonName;
  algorithm?: Algorithm;
  notBefore?: Date;
  notAfter?: Date;
  extensions?: x509.Extension[];
  hash?: string;
}

export function describe(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`, size: bytes.byteLength };
}

async function generateKeys(algorithm: Algorithm, hash: string): Promise<webcrypto.CryptoKeyPair> {
  const { subtle } = webcrypto;
  if (algorithm in CURVES) {
    const namedCurve = CURVES[algorithm as keyof typeof CURVES];
    return subtle.generateKey({ name: 'ECDSA', namedCurve }, true, ['sign', 'verify']);
  }
  const modulusLength = SIZES[algorithm as keyof typeof SIZES];
  const publicExponent = new Uint8Array([1, 0, 1]);
  return subtle.generateKey({ name: 'RSASSA-PKCS1-v1_5', modulusLength, publicExponent, hash }, true, [
    'sign',
    'verify',
  ]);
}

/** Extensions of a certificate authority. */
export function authority(pathLength?: number): x509.Extension[] {
  return [new x509.BasicConstraintsExtension(true, pathLength, true), new x509.KeyUsagesExtension(keyCertSign, true)];
}

/** A certificate issued by `issuer`, or by itself; of one who signs code, unless its extensions say otherwise. */
export async function issue(issuer: Issued | undefined, options: CertificateOptions = {}): Promise<Issued> {
  const { algorithm = 'ES256', hash = 'SHA-256' } = options;
  const keys = await generateKeys(algorithm, hash);
  const subject = options.subject ?? 'CN=ci, C=US, ST=WA, O=acme';
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex'),
    subject,
    issuer: issuer?.certificate.subject ?? new x509.Name(subject).toString(),
    notBefore: options.notBefore ?? new Date('2026-01-01T00:00:00Z'),
    notAfter: options.notAfter ?? new Date('2027-01-01T00:00:00Z'),
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: { name: 'ECDSA', hash },
    extensions: options.extensions ?? [new x509.KeyUsagesExtension(digitalSignature, true)],
  });
  return { certificate, keys, algorithm };
}

export interface SignOptions {
  chain: Issued[];
  artifact?: Descriptor;
  algorithm?: string;
  header?: JWSHeaderParameters & Record<string, unknown>;
  crit?: string[];
}

/** What `notation sign` writes: a flattened JWS with its chain. */
export async function sign({ chain, artifact = ARTIFACT, algorithm, header, crit = [SCHEME] }: SignOptions) {
  const [leaf] = chain;
  if (leaf === undefined) throw new Error('nobody signs');
  const { mediaType, digest, size } = artifact;
  const payload = Buffer.from(JSON.stringify({ targetArtifact: { mediaType, digest, size } }));
  const jws = await new FlattenedSign(payload)
    .setProtectedHeader({
      alg: algorithm ?? leaf.algorithm,
      cty: 'application/vnd.cncf.notary.payload.v1+json',
      [SCHEME]: 'notary.x509',
      [SIGNING_TIME]: '2026-05-01T00:00:00Z',
      ...header,
      crit,
    })
    .sign(KeyObject.from(leaf.keys.privateKey), { crit: Object.fromEntries(crit.map((name) => [name, true])) });
  const x5c = chain.map(({ certificate }) => Buffer.from(certificate.rawData).toString('base64'));
  return { ...jws, header: { x5c, 'io.cncf.notary.signingAgent': 'test' } };
}

export interface Attached {
  envelope: unknown;
  layerType?: string;
  annotations?: Record<string, string>;
  /** Told by `config.mediaType` alone, and by no type in the listing. */
  legacy?: boolean;
  artifactType?: string;
}

/** Everything a registry would hold, in memory. */
export class Shelf {
  readonly #blobs = new Map<string, Buffer>();
  readonly #referrers: Descriptor[] = [];
  fetched = 0;

  #put(bytes: Buffer, mediaType: string): Descriptor {
    const descriptor = describe(bytes, mediaType);
    this.#blobs.set(descriptor.digest, bytes);
    return descriptor;
  }

  attach({ envelope, layerType = 'application/jose+json', annotations = {}, legacy = false, ...rest }: Attached): void {
    const { artifactType = NOTATION_SIGNATURE } = rest;
    const config = this.#put(Buffer.from('{}'), legacy ? artifactType : 'application/vnd.oci.empty.v1+json');
    const layers = [this.#put(Buffer.from(JSON.stringify(envelope)), layerType)];
    const manifest = { schemaVersion: 2, config, layers, annotations, ...(legacy ? {} : { artifactType }) };
    const descriptor = this.#put(Buffer.from(JSON.stringify(manifest)), ARTIFACT.mediaType);
    this.#referrers.push(legacy ? descriptor : { ...descriptor, artifactType });
  }

  /** Lists what is not there. */
  dangle(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const descriptor = describe(Buffer.from(String(index)), ARTIFACT.mediaType);
      this.#referrers.push({ ...descriptor, artifactType: NOTATION_SIGNATURE });
    }
  }

  context(now = NOW): VerifyContext {
    return {
      repository: REPOSITORY,
      digest: ARTIFACT.digest,
      now,
      signal: AbortSignal.timeout(10_000),
      source: {
        resolve: async () => ARTIFACT,
        referrers: async () => [...this.#referrers],
        fetch: async (_, { digest }) => this.#open(digest),
      },
    };
  }

  async *#open(digest: string): AsyncGenerator<Uint8Array, void> {
    this.fetched += 1;
    const bytes = this.#blobs.get(digest);
    if (bytes === undefined) throw transient('SourceNotFound', `${digest} is not there`);
    yield bytes;
  }
}

/** A policy that trusts one root, and acme below it. */
export function trusting(root: Issued, policy: Partial<NotationTrust> = {}): NotationTrust {
  const stores = [{ name: 'acme', pem: root.certificate.toString('pem') }];
  return { level: 'strict', stores, identities: ['x509.subject: C=US, ST=WA, O=acme'], ...policy };
}
