import { X509Certificate } from 'node:crypto';
import { digestOf } from '../digest.ts';
import { field, parseJson } from '../body.ts';
import { readBlob } from '../content.ts';
import type { ContentDescriptor, ImageManifest } from '../manifest.ts';
import { MAX_SIGNED_BYTES, parseBundle, toSigned } from './bundle.ts';
import { refused, refusedAttachment, shown } from './cosign-refusal.ts';
import type { Attachment, Signed, Wanted } from './cosign-signed.ts';
import type { VerifyContext } from './verdict.ts';

/** A layer that is the payload of one signature (sigstore/cosign specs/SIGNATURE_SPEC.md). */
export const SIMPLE_SIGNING = 'application/vnd.dev.cosign.simplesigning.v1+json';
/** A layer that is one attestation (`.att` tags). */
export const DSSE_ENVELOPE = 'application/vnd.dsse.envelope.v1+json';

const SIGNATURE = 'dev.cosignproject.cosign/signature';
const CERTIFICATE = 'dev.sigstore.cosign/certificate';
const LOG_ENTRY = 'dev.sigstore.cosign/bundle';
/** What cosign 2 says of an attestation; whoever pushed it chose it. */
const PREDICATE = 'predicateType';
const TIMESTAMP = 'dev.sigstore.cosign/rfc3161timestamp';
const BUNDLE_V01 = 'application/vnd.dev.sigstore.bundle+json;version=0.1';

type Annotations = Readonly<Record<string, string>>;

function text(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === 'string' ? found : '';
}

/** A whole number as bundles write it; whatever else a stranger put there is none. */
function integer(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === 'number' && Number.isSafeInteger(found) ? String(found) : text(value, name);
}

/** The log entry of an annotation as a bundle has it; a signed entry timestamp is all the proof it comes with. */
function logEntries(annotations: Annotations): unknown[] {
  const annotation = annotations[LOG_ENTRY];
  if (annotation === undefined) return [];
  const said = parseJson(Buffer.from(annotation));
  const payload = field(said, 'Payload');
  const body = text(payload, 'body');
  const parsed = parseJson(Buffer.from(body, 'base64'));
  return [
    {
      logIndex: integer(payload, 'logIndex'),
      logId: { keyId: Buffer.from(text(payload, 'logID'), 'hex').toString('base64') },
      kindVersion: { kind: text(parsed, 'kind'), version: text(parsed, 'apiVersion') },
      integratedTime: integer(payload, 'integratedTime'),
      inclusionPromise: { signedEntryTimestamp: text(said, 'SignedEntryTimestamp') },
      canonicalizedBody: body,
    },
  ];
}

function timestamps(annotations: Annotations): unknown[] {
  const annotation = annotations[TIMESTAMP];
  if (annotation === undefined) return [];
  return [{ signedTimestamp: text(parseJson(Buffer.from(annotation)), 'SignedRFC3161Timestamp') }];
}

function signer(annotations: Annotations): Record<string, unknown> {
  const pem = annotations[CERTIFICATE];
  if (pem === undefined || pem === '') return { publicKey: { hint: '' } };
  try {
    const rawBytes = new X509Certificate(pem).raw.toString('base64');
    return { x509CertificateChain: { certificates: [{ rawBytes }] } };
  } catch (error) {
    throw refused('the certificate of its annotation cannot be read', error);
  }
}

/** What the annotations of a layer say, as the verification material of a bundle 0.1. */
function verificationMaterial(annotations: Annotations): Record<string, unknown> {
  return {
    ...signer(annotations),
    tlogEntries: logEntries(annotations),
    timestampVerificationData: { rfc3161Timestamps: timestamps(annotations) },
  };
}

/** The payload has to say that it is a signature, and of our digest; the name it gives the artifact counts nothing. */
function checkPayload(payload: Buffer, digest: string): void {
  const critical = field(parseJson(payload), 'critical');
  if (field(critical, 'type') !== 'cosign container image signature') {
    throw refused('its payload is no "cosign container image signature"');
  }
  const image = field(critical, 'image');
  const keys = typeof image === 'object' && image !== null ? Object.keys(image) : [];
  // The specification's own example writes `Docker-manifest-digest`.
  const named = keys.filter((key) => key.toLowerCase() === 'docker-manifest-digest');
  const only = field(image, named[0] ?? '');
  if (named.length !== 1 || typeof only !== 'string') throw refused('its payload names no one digest');
  if (only !== digest) throw refused(`it is a signature of another artifact, ${shown(only)}`);
}

async function readSimpleSigning(context: VerifyContext, layer: ContentDescriptor, where: string): Promise<Signed> {
  const { source, repository, digest, signal } = context;
  const annotations = layer.annotations ?? {};
  const signature = annotations[SIGNATURE] ?? '';
  if (signature === '') throw refused('it has no signature among its annotations');
  const bytes = await readBlob(source, repository, layer, MAX_SIGNED_BYTES, signal);
  checkPayload(bytes, digest);
  const payloadDigest = Buffer.from(digestOf(bytes).slice('sha256:'.length), 'hex').toString('base64');
  const bundle = await parseBundle({
    mediaType: BUNDLE_V01,
    verificationMaterial: verificationMaterial(annotations),
    messageSignature: { messageDigest: { algorithm: 'SHA2_256', digest: payloadDigest }, signature },
  });
  return { format: 'cosign-legacy', where, bundle, bytes, statement: undefined };
}

async function readEnvelope(context: VerifyContext, layer: ContentDescriptor, where: string): Promise<Signed> {
  const { source, repository, signal } = context;
  const bytes = await readBlob(source, repository, layer, MAX_SIGNED_BYTES, signal);
  const bundle = await parseBundle({
    mediaType: BUNDLE_V01,
    verificationMaterial: verificationMaterial(layer.annotations ?? {}),
    dsseEnvelope: parseJson(bytes),
  });
  return toSigned(context, bundle, where, 'cosign-legacy');
}

/** Whether a manifest holds what cosign 2 writes, a signature or an attestation a layer. */
export function isLegacy({ layers }: ImageManifest): boolean {
  return layers.some(({ mediaType }) => mediaType === SIMPLE_SIGNING || mediaType === DSSE_ENVELOPE);
}

/**
 * What the layers of a manifest hold that cosign 2 wrote, `limit` at most; that there are more is said at the end.
 * @throws ReconcileError of the registry
 */
export async function readLegacy(
  context: VerifyContext,
  manifest: ImageManifest,
  { where, limit, wanted }: { where: string; limit: number; wanted: Wanted },
): Promise<Attachment[]> {
  const layers = manifest.layers.filter(({ mediaType }) => mediaType === SIMPLE_SIGNING || mediaType === DSSE_ENVELOPE);
  const mayBe = ({ annotations: { [PREDICATE]: said } = {} }: ContentDescriptor) => said === undefined || wanted(said);
  const found: Attachment[] = [];
  for (const layer of layers.slice(0, limit)) {
    const read = layer.mediaType === SIMPLE_SIGNING ? readSimpleSigning : readEnvelope;
    try {
      found.push({ type: 'signed', signed: await read(context, layer, where) });
    } catch (error) {
      found.push(refusedAttachment(where, error, mayBe(layer)));
    }
  }
  const more = layers.slice(limit).filter(mayBe).length;
  if (more > 0) found.push({ type: 'refused', why: `${where}: ${more} more of it are not looked at`, unread: true });
  return found;
}
