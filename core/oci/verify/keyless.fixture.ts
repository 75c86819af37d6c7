import { createHash, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { initializeCA, initializeCTLog, initializeTLog, initializeTSA } from '@sigstore/mock';
import { BUNDLE_TYPE } from './bundle.ts';
import type { LegacyLayer } from './cosign.fixture.ts';
import { IN_TOTO, preAuthEncoding } from './statement.ts';

const SINCE = { start: '2020-01-01T00:00:00Z' };
const ISSUER_V1 = '1.3.6.1.4.1.57264.1.1';
const ISSUER = '1.3.6.1.4.1.57264.1.8';
const SHA_256 = '2.16.840.1.101.3.4.2.1';

export interface KeylessOptions {
  subject?: string;
  issuer?: string;
  /** More extensions, by OID. */
  extensions?: Record<string, string>;
  /** When the log took it in; certificates live for ten minutes. */
  loggedAt?: Date;
  /** Whether a time stamp authority says when, and not the log (as with Rekor 2). */
  stamped?: boolean;
}

/** An answer of Rekor; the types of the package that the mock takes it from are not installed. */
const Entries = Type.Record(
  Type.String(),
  Type.Object({
    body: Type.String(),
    integratedTime: Type.Number(),
    logID: Type.String(),
    logIndex: Type.Number(),
    verification: Type.Object({
      signedEntryTimestamp: Type.String(),
      inclusionProof: Type.Object({
        logIndex: Type.Number(),
        rootHash: Type.String(),
        treeSize: Type.Number(),
        checkpoint: Type.String(),
      }),
    }),
  }),
);
type Entry = Static<typeof Entries>[string];

function pair() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function pem(label: string, der: Uint8Array): string {
  return `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64')}\n-----END ${label}-----\n`;
}

function toLogEntry({ body, integratedTime, logID, logIndex, verification }: Entry, kind: string) {
  const proof = verification.inclusionProof;
  return {
    logIndex: String(logIndex),
    logId: { keyId: Buffer.from(logID, 'hex').toString('base64') },
    kindVersion: { kind, version: '0.0.1' },
    integratedTime: String(integratedTime),
    inclusionPromise: { signedEntryTimestamp: verification.signedEntryTimestamp },
    inclusionProof: {
      logIndex: String(proof.logIndex),
      rootHash: Buffer.from(proof.rootHash, 'hex').toString('base64'),
      treeSize: String(proof.treeSize),
      hashes: [],
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: body,
  };
}

/** A trusted_root.json of four authorities. */
function rootOf(parts: Record<'logKey' | 'ctKey' | 'ctId' | 'ca', Buffer> & { tsa: Buffer[] }) {
  const { logKey, ctKey, ctId, ca, tsa } = parts;
  const authority = (key: Buffer, keyId: Buffer) => ({
    baseUrl: 'https://rekor.test',
    hashAlgorithm: 'SHA2_256',
    publicKey: { rawBytes: key.toString('base64'), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor: SINCE },
    logId: { keyId: keyId.toString('base64') },
  });
  const issuing = (certificates: Buffer[]) => ({
    subject: { organization: 'sigstore.mock', commonName: 'sigstore' },
    uri: 'https://fulcio.test',
    certChain: { certificates: certificates.map((each) => ({ rawBytes: each.toString('base64') })) },
    validFor: SINCE,
  });
  return {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [authority(logKey, sha256(logKey))],
    certificateAuthorities: [issuing([ca])],
    ctlogs: [authority(ctKey, ctId)],
    timestampAuthorities: [issuing(tsa)],
  };
}

function bytesOf(view: ArrayBufferView): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}

/** What cosign 2 writes of a signature with a certificate. */
function annotated(payload: Buffer, signed: { signature: string; certificate: Buffer; entry: Entry }): LegacyLayer {
  const { body, integratedTime, logIndex, logID, verification } = signed.entry;
  const annotation = {
    SignedEntryTimestamp: verification.signedEntryTimestamp,
    Payload: { body, integratedTime, logIndex, logID },
  };
  return {
    bytes: payload,
    annotations: {
      'dev.cosignproject.cosign/signature': signed.signature,
      'dev.sigstore.cosign/certificate': pem('CERTIFICATE', signed.certificate),
      'dev.sigstore.cosign/bundle': JSON.stringify(annotation),
    },
  };
}

/** A key and its certificate. */
async function certify({ ca }: Pick<Services, 'ca'>, options: KeylessOptions) {
  const { subject = 'https://github.com/acme/shop/.github/workflows/release.yml@refs/tags/v1' } = options;
  const { issuer = 'https://token.actions.githubusercontent.com', extensions = {} } = options;
  const keys = pair();
  const certificate = await ca.issueCertificate({
    publicKey: Buffer.from(keys.publicKey.export({ type: 'spki', format: 'der' })),
    subjectAltName: subject,
    extensions: [
      { oid: ISSUER_V1, value: issuer, legacy: true },
      { oid: ISSUER, value: issuer },
      ...Object.entries(extensions).map(([oid, value]) => ({ oid, value })),
    ],
  });
  return { key: keys.privateKey, certificate: bytesOf(certificate) };
}

interface Services {
  ca: Awaited<ReturnType<typeof initializeCA>>;
  tsa: Awaited<ReturnType<typeof initializeTSA>>;
  logKeys: ReturnType<typeof pair>;
}

function openLog({ logKeys }: Pick<Services, 'logKeys'>, clock?: Date) {
  return initializeTLog('https://rekor.test', logKeys, clock);
}

async function record(services: Services, kind: 'dsse' | 'hashedrekord', spec: object, at?: Date): Promise<Entry> {
  const log = await openLog(services, at);
  const entries: unknown = await log.log({ apiVersion: '0.0.1', kind, spec });
  const [entry] = Object.values(Value.Parse(Entries, entries));
  if (entry === undefined) throw new Error('nothing was logged');
  return entry;
}

async function logEnvelope(services: Services, payload: Buffer, signature: string, verifier: string, at?: Date) {
  const spec = {
    signatures: [{ signature, verifier: Buffer.from(verifier).toString('base64') }],
    payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
  };
  return toLogEntry(await record(services, 'dsse', spec, at), 'dsse');
}

async function stamp({ tsa }: Services, signature: Buffer) {
  const request = { artifactHash: sha256(signature), hashAlgorithmOID: SHA_256, nonce: 1, policyOID: '1.2.3.4.1' };
  return { signedTimestamp: bytesOf(await tsa.timestamp(request)).toString('base64') };
}

async function makeBundle(services: Services, content: unknown, options: KeylessOptions) {
  const { key, certificate } = await certify(services, options);
  const payload = Buffer.from(JSON.stringify(content));
  const signature = sign('sha256', preAuthEncoding(IN_TOTO, payload), key);
  const sig = signature.toString('base64');
  const entry = await logEnvelope(services, payload, sig, pem('CERTIFICATE', certificate), options.loggedAt);
  const { inclusionPromise, ...unpromised } = entry;
  return {
    mediaType: BUNDLE_TYPE,
    verificationMaterial: {
      certificate: { rawBytes: certificate.toString('base64') },
      tlogEntries: [options.stamped === undefined ? { ...unpromised, inclusionPromise } : unpromised],
      timestampVerificationData: {
        rfc3161Timestamps: options.stamped === true ? [await stamp(services, signature)] : [],
      },
    },
    dsseEnvelope: { payload: payload.toString('base64'), payloadType: IN_TOTO, signatures: [{ sig }] },
  };
}

async function makeLegacy(services: Services, payload: Buffer, options: KeylessOptions): Promise<LegacyLayer> {
  const { key, certificate } = await certify(services, options);
  const signature = sign('sha256', payload, key).toString('base64');
  const verifier = Buffer.from(pem('CERTIFICATE', certificate)).toString('base64');
  const spec = {
    data: { hash: { algorithm: 'sha256', value: sha256(payload).toString('hex') } },
    signature: { content: signature, publicKey: { content: verifier } },
  };
  const entry = await record(services, 'hashedrekord', spec, options.loggedAt);
  return annotated(payload, { signature, certificate, entry });
}

/** A whole Sigstore of one's own, in memory: certificate authority and log, transparency log, time stamps. */
export async function createSigstore() {
  const ctLog = await initializeCTLog(pair());
  const ca = await initializeCA(pair(), ctLog);
  // In whole seconds: @sigstore/core reads no fraction but one of three digits, and DER drops zeros at its end. Ahead, since
  // it stands still while certificates are made, which live for ten minutes.
  const clock = new Date(Math.ceil(Date.now() / 1000) * 1000 + 120_000);
  const services: Services = { ca, tsa: await initializeTSA(pair(), clock), logKeys: pair() };
  const { publicKey: logKey } = await openLog(services);
  const root = rootOf({
    logKey,
    ctKey: ctLog.publicKey,
    ctId: bytesOf(ctLog.logID),
    ca: bytesOf(ca.rootCertificate),
    tsa: [bytesOf(services.tsa.intCertificate), bytesOf(services.tsa.rootCertificate)],
  });
  return {
    root,

    /** A bundle with a certificate. */
    bundle: (content: unknown, options: KeylessOptions = {}) => makeBundle(services, content, options),

    /** A legacy signature with a certificate. */
    legacy: (payload: Buffer, options: KeylessOptions = {}) => makeLegacy(services, payload, options),

    /** The log entry of an envelope that a key signed. */
    logged(envelope: { payload: string; signatures: { sig: string }[] }, key: KeyObject) {
      const verifier = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
      const payload = Buffer.from(envelope.payload, 'base64');
      return logEnvelope(services, payload, envelope.signatures[0]?.sig ?? '', verifier);
    },
  };
}
