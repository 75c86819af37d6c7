import { X509Certificate } from 'node:crypto';
import { ReconcileError, stalled } from '#core/domain/errors.ts';
import type { Reason } from '#core/domain/reason.ts';
import { parseJson } from '../body.ts';
import { nameOf, readBlob } from '../content.ts';
import { parseImageManifest, type ImageManifest } from '../manifest.ts';
import type { Descriptor } from '../port.ts';
import { checkChain } from './notation-chain.ts';
import { readEnvelope, type Envelope } from './notation-envelope.ts';
import { formatSubject, isTrustedSubject, parseTrustedIdentity, type TrustedIdentity } from './notation-identity.ts';
import type { NotationTrust, Signer, Verdict, VerifyContext } from './verdict.ts';

export const NOTATION_SIGNATURE = 'application/vnd.cncf.notary.signature';
const JWS = 'application/jose+json';
const COSE = 'application/cose';
const THUMBPRINTS = 'io.cncf.notary.x509chain.thumbprint#S256';

/** Signatures that are looked at; as many as `notation verify` does by default, give or take. */
const MAX_SIGNATURES = 50;
const MAX_MANIFEST_BYTES = 256 * 1024;
const MAX_ENVELOPE_BYTES = 1024 * 1024;
const SHOWN_REFUSALS = 3;

/** What somebody attached must not stop us from looking at the next; all else (a registry that is away) does. */
const OF_ONE_SIGNATURE: ReadonlySet<Reason> = new Set([
  'SignatureInvalid',
  'SourceNotFound',
  'DigestMismatch',
  'ArtifactTooLarge',
  'ArtifactInvalid',
]);

interface Trust {
  level: NotationTrust['level'];
  roots: X509Certificate[];
  identities: TrustedIdentity[];
}

function refused(why: string): ReconcileError {
  return stalled('SignatureInvalid', why);
}

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function readTrust(trust: NotationTrust): Trust {
  const roots = trust.stores.flatMap(({ name, pem }) => {
    const blocks = pem.match(PEM_BLOCK) ?? [];
    if (blocks.length === 0) throw stalled('SpecInvalid', `the trust store ${name} holds no certificate (PEM)`);
    try {
      return blocks.map((block) => new X509Certificate(block));
    } catch (error) {
      throw stalled('SpecInvalid', `the trust store ${name} holds a certificate that cannot be read`, error);
    }
  });
  return { level: trust.level, roots, identities: trust.identities.map(parseTrustedIdentity) };
}

function isNotation({ artifactType, config }: ImageManifest): boolean {
  return artifactType === NOTATION_SIGNATURE || config.mediaType === NOTATION_SIGNATURE;
}

async function readSignature(context: VerifyContext, { layers }: ImageManifest): Promise<Buffer> {
  const { source, repository, signal } = context;
  const [layer] = layers;
  if (layer === undefined || layers.length !== 1) throw refused(`it has ${layers.length} layers instead of one`);
  if (layer.mediaType === COSE) {
    throw refused(
      'it is a COSE envelope, which Plumbline does not read; sign with `notation sign --signature-format jws`',
    );
  }
  if (layer.mediaType !== JWS) throw refused(`its envelope ${JSON.stringify(layer.mediaType)} is not ${JWS}`);
  return readBlob(source, repository, layer, MAX_ENVELOPE_BYTES, signal);
}

function checkTarget({ target }: Envelope, artifact: Descriptor): void {
  if (target.digest !== artifact.digest) {
    throw refused(`it is the signature of another artifact, ${JSON.stringify(target.digest.slice(0, 80))}`);
  }
  if (target.size !== artifact.size || target.mediaType !== artifact.mediaType) {
    throw refused('it names another size or media type than the artifact has');
  }
}

/** The annotation lets a registry filter by certificate; one that does not tell the truth is refused. */
function checkThumbprints({ chain }: Envelope, annotation: string | undefined): void {
  if (annotation === undefined) return;
  const said = parseJson(Buffer.from(annotation));
  const are = chain.map(({ x509 }) => x509.fingerprint256.replaceAll(':', '').toLowerCase());
  const agrees = Array.isArray(said) && said.length === are.length && are.every((print, at) => said[at] === print);
  if (!agrees) throw refused(`the annotation ${THUMBPRINTS} names other certificates than the envelope holds`);
}

function checkTrust({ chain }: Envelope, trust: Trust): void {
  const [leaf] = chain;
  const root = chain.at(-1) ?? leaf;
  if (!trust.roots.some(({ raw }) => raw.equals(root.x509.raw))) {
    throw refused(`its root ${formatSubject(root.subject)} is in none of the trust stores`);
  }
  if (!trust.identities.some((identity) => isTrustedSubject(leaf.subject, identity))) {
    throw refused(`its signer ${formatSubject(leaf.subject)} is none of the trusted identities`);
  }
}

/** What is wrong with the times now: without a trusted time stamp every certificate must be valid when we look. */
function timeProblems({ chain, expiry }: Envelope, now: Date): string[] {
  const certificates = chain.flatMap(({ subject, notBefore, notAfter }) => {
    if (now < notBefore)
      return [`the certificate ${formatSubject(subject)} is valid only from ${notBefore.toISOString()}`];
    if (now > notAfter) return [`the certificate ${formatSubject(subject)} expired on ${notAfter.toISOString()}`];
    return [];
  });
  const over = expiry !== undefined && now >= expiry ? [`the signature expired on ${expiry.toISOString()}`] : [];
  return [...certificates, ...over];
}

function toSigner({ chain, expiry }: Envelope, context: VerifyContext, remarks: string[]): Signer {
  const ends = [...chain.map(({ notAfter }) => notAfter), ...(expiry === undefined ? [] : [expiry])];
  const coming = ends.map((end) => end.getTime()).filter((end) => end > context.now.getTime());
  const remark = remarks.length === 0 ? '' : ` (permissive: ${remarks.join('; ')})`;
  return {
    format: 'notation',
    name: `${formatSubject(chain[0].subject)}${remark}`,
    digest: context.digest,
    statement: 'artifact',
    ...(coming.length === 0 ? {} : { validUntil: new Date(Math.min(...coming)) }),
  };
}

async function checkSignature(
  context: VerifyContext,
  manifest: ImageManifest,
  trust: Trust,
  artifact: Descriptor,
): Promise<Signer> {
  const envelope = await readEnvelope(await readSignature(context, manifest));
  checkTarget(envelope, artifact);
  checkThumbprints(envelope, manifest.annotations?.[THUMBPRINTS]);
  checkChain(envelope.chain);
  checkTrust(envelope, trust);
  const problems = timeProblems(envelope, context.now);
  const [first] = problems;
  if (first !== undefined && trust.level === 'strict') throw refused(first);
  return toSigner(envelope, context, problems);
}

/** What one attached manifest came to: a signer, why it does not count, or undefined for what is no Notation signature. */
async function examine(
  context: VerifyContext,
  descriptor: Descriptor,
  trust: Trust,
  artifact: Descriptor,
): Promise<{ signer: Signer } | { refusal: string } | undefined> {
  let ours = descriptor.artifactType === NOTATION_SIGNATURE;
  try {
    const { source, repository, signal } = context;
    const bytes = await readBlob(source, repository, descriptor, MAX_MANIFEST_BYTES, signal);
    const manifest = parseImageManifest(bytes, 'its manifest');
    ours = isNotation(manifest);
    return ours ? { signer: await checkSignature(context, manifest, trust, artifact) } : undefined;
  } catch (error) {
    if (!(error instanceof ReconcileError) || !OF_ONE_SIGNATURE.has(error.reason)) throw error;
    return ours ? { refusal: `${descriptor.digest.slice(0, 19)}…: ${error.message}` } : undefined;
  }
}

/** Typed ones first; where a registry tells no type, the manifest does (legacy signatures: by `config.mediaType`). */
async function candidates(context: VerifyContext): Promise<Descriptor[]> {
  const { source, repository, digest, signal } = context;
  const all = await source.referrers(repository, digest, {}, signal);
  const typed = all.filter(({ artifactType }) => artifactType === NOTATION_SIGNATURE);
  return [...typed, ...all.filter(({ artifactType }) => artifactType === undefined)];
}

function summarize({ repository, digest }: VerifyContext, refusals: string[], passed: number): Verdict {
  const where = nameOf(repository, digest);
  const rest = passed > 0 ? `; ${passed} more attached manifests were not looked at, remove those nobody needs` : '';
  if (refusals.length === 0) {
    const message = `no Notation signature is attached to ${where}; sign it with \`notation sign\`${rest}`;
    return { type: 'missing', message };
  }
  const more = refusals.length > SHOWN_REFUSALS ? `; and ${refusals.length - SHOWN_REFUSALS} more` : '';
  const why = refusals.slice(0, SHOWN_REFUSALS).join('; ');
  return { type: 'refused', message: `no Notation signature of ${where} counts: ${why}${more}${rest}` };
}

/**
 * Whether a Notation signature (JWS envelope, notaryproject/specifications) of the digest meets a trust policy. At most
 * 50 attached manifests are looked at, 256 KiB each, with envelopes of at most 1 MiB; the first signature that counts ends the search.
 *
 * `strict` demands that every certificate is valid now and the signature not expired; `permissive` only remarks on it in
 * the signer's name. Revocation (OCSP, CRL) is not checked at either level: to revoke a certificate, take its root out of
 * the trust store or narrow the trusted identities. Time stamps (RFC 3161) are not read, so they extend no validity.
 * @throws ReconcileError stalled SpecInvalid for a policy that cannot be read, or of the registry
 */
export async function verifyNotation(context: VerifyContext, notation: NotationTrust): Promise<Verdict> {
  const trust = readTrust(notation);
  const attached = await candidates(context);
  const looked = attached.slice(0, MAX_SIGNATURES);
  if (looked.length === 0) return summarize(context, [], 0);
  const artifact = await context.source.resolve(context.repository, context.digest, context.signal);
  const refusals: string[] = [];
  for (const descriptor of looked) {
    const result = await examine(context, descriptor, trust, artifact);
    if (result === undefined) continue;
    if ('signer' in result) return { type: 'verified', signers: [result.signer] };
    refusals.push(result.refusal);
  }
  return summarize(context, refusals, attached.length - looked.length);
}
