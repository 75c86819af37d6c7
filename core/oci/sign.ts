import { createPublicKey, type KeyObject } from 'node:crypto';
import { contentOf } from './content.ts';
import { digestOf } from './digest.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_MANIFEST } from './media-types.ts';
import type { Descriptor, Pusher, Repository, Resolver } from './port.ts';
import { signBytes } from './sign-key.ts';
import { BUNDLE_CONTENT, BUNDLE_PREDICATE, BUNDLE_TYPE } from './verify/bundle.ts';
import { hintOf } from './verify/cosign-key.ts';
import { COSIGN_SIGN, IN_TOTO, preAuthEncoding, STATEMENT_V1 } from './verify/statement.ts';

/** What is signed, and by whom. */
export interface SignRequest {
  repository: Repository;
  /** Of the manifest or index. */
  digest: string;
  /** Private key: P-256, P-384 or Ed25519. */
  key: KeyObject;
  /** Said about the artifact, under the signature. */
  annotations?: Record<string, string>;
  /** Of the referrer's manifest, not signed: to find it again. */
  manifestAnnotations?: Record<string, string>;
  /** When, for the annotation of the manifest. */
  now?: Date;
}

/** What is stated about an artifact. */
export interface AttestRequest extends SignRequest {
  predicateType: string;
  predicate: unknown;
}

/** A Sigstore bundle 0.3 of a statement signed by a key, as cosign 3 writes it. */
function bundleOf(statement: unknown, key: KeyObject): Buffer {
  const payload = Buffer.from(JSON.stringify(statement));
  const sig = signBytes(key, preAuthEncoding(IN_TOTO, payload)).toString('base64');
  return Buffer.from(
    JSON.stringify({
      mediaType: BUNDLE_TYPE,
      verificationMaterial: { publicKey: { hint: hintOf(createPublicKey(key)) } },
      dsseEnvelope: { payload: payload.toString('base64'), payloadType: IN_TOTO, signatures: [{ sig }] },
    }),
  );
}

function manifestOf(
  bundle: Descriptor,
  subject: Descriptor,
  { predicateType, manifestAnnotations, now = new Date() }: AttestRequest,
): Buffer {
  const { mediaType, digest, size } = subject;
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: BUNDLE_TYPE,
      config: contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG).descriptor,
      layers: [bundle],
      subject: { mediaType, digest, size },
      annotations: {
        // Seconds, as cosign writes them (RFC 3339).
        'org.opencontainers.image.created': `${now.toISOString().slice(0, 19)}Z`,
        [BUNDLE_CONTENT]: 'dsse-envelope',
        [BUNDLE_PREDICATE]: predicateType,
        ...manifestAnnotations,
      },
    }),
  );
}

/**
 * Attaches a signed statement to an artifact as a referrer; `cosign verify-attestation --key` takes it.
 * @throws ReconcileError of the registry, or stalled SpecInvalid for a key of another kind
 */
export async function attest(
  registry: Resolver & Pusher,
  request: AttestRequest,
  signal: AbortSignal,
): Promise<Descriptor> {
  const { repository, digest, key, annotations = {}, predicateType, predicate } = request;
  const subject = await registry.resolve(repository, digest, signal);
  const [algorithm = '', hex = ''] = digest.split(':');
  const statement = {
    _type: STATEMENT_V1,
    subject: [{ digest: { [algorithm]: hex }, annotations }],
    predicateType,
    predicate,
  };
  const bundle = contentOf(bundleOf(statement, key), BUNDLE_TYPE);
  await registry.pushBlob(repository, contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG), signal);
  await registry.pushBlob(repository, bundle, signal);
  const bytes = manifestOf(bundle.descriptor, subject, request);
  return registry.pushManifest(repository, digestOf(bytes), { bytes, mediaType: OCI_MANIFEST }, signal);
}

/**
 * Signs an artifact by attaching a signature that `cosign verify --key` takes. Signing it again attaches another one.
 * @throws ReconcileError as `attest` does
 */
export async function signArtifact(
  registry: Resolver & Pusher,
  request: SignRequest,
  signal: AbortSignal,
): Promise<Descriptor> {
  return attest(registry, { ...request, predicateType: COSIGN_SIGN, predicate: {} }, signal);
}
