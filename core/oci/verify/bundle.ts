import type { Bundle } from '@sigstore/bundle';
import { parseJson } from '../body.ts';
import { readBlob, readManifest } from '../content.ts';
import { hasDigest } from '../digest.ts';
import type { ImageManifest } from '../manifest.ts';
import { refused, shown } from './cosign-refusal.ts';
import type { Signed } from './cosign-signed.ts';
import { parseStatement, preAuthEncoding } from './statement.ts';
import type { VerifyContext } from './verdict.ts';

/** Type of artifact, layer and JSON of a Sigstore bundle, as cosign 3 writes it (sigstore/cosign specs/BUNDLE_SPEC.md). */
export const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
/** Annotations of its manifest; whoever pushed it chose them, so they only say in which order to look. */
export const BUNDLE_CONTENT = 'dev.sigstore.bundle.content';
export const BUNDLE_PREDICATE = 'dev.sigstore.bundle.predicateType';

/** Bytes of a bundle with its statement, and of the attached things cosign wrote before. */
export const MAX_SIGNED_BYTES = 1024 * 1024;

const ANY_BUNDLE = 'application/vnd.dev.sigstore.bundle';
/** Version 0.3, spelt in both ways; older ones are not stored in registries. */
const BUNDLE_TYPES: ReadonlySet<string> = new Set([BUNDLE_TYPE, `${ANY_BUNDLE}+json;version=0.3`]);

/** Whether a manifest claims to hold a bundle. */
export function isBundle({ artifactType = '', layers }: ImageManifest): boolean {
  return artifactType.startsWith(ANY_BUNDLE) || (layers[0]?.mediaType.startsWith(ANY_BUNDLE) ?? false);
}

/**
 * Parses a bundle and checks its form.
 * @throws ReconcileError stalled SignatureInvalid
 */
export async function parseBundle(json: unknown): Promise<Bundle> {
  const { bundleFromJSON } = await import('@sigstore/bundle');
  try {
    return bundleFromJSON(json);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw refused(`it is no valid Sigstore bundle: ${shown(why)}`, error);
  }
}

/** What a signature without a statement is over: the manifest itself. */
async function signedManifest(context: VerifyContext, bundle: Bundle): Promise<Buffer> {
  const { content } = bundle;
  if (content.$case !== 'messageSignature') throw refused('it signs no message');
  const { bytes } = await readManifest(context.source, context.repository, context.digest, context.signal);
  // The log's entry is compared with this digest, so it has to be the one of what was signed.
  const said = `sha256:${content.messageSignature.messageDigest.digest.toString('hex')}`;
  if (content.messageSignature.messageDigest.digest.length !== 32 || !hasDigest(bytes, said)) {
    throw refused(`it is a signature of something else, ${shown(said)}`);
  }
  return bytes;
}

/**
 * Makes a bundle ready to be checked; `where` names it in messages.
 * @throws ReconcileError stalled SignatureInvalid, or of the registry
 */
export async function toSigned(
  context: VerifyContext,
  bundle: Bundle,
  where: string,
  format: Signed['format'],
): Promise<Signed> {
  const { content } = bundle;
  if (content.$case === 'messageSignature') {
    return { format, where, bundle, bytes: await signedManifest(context, bundle), statement: undefined };
  }
  const { payload, payloadType } = content.dsseEnvelope;
  const statement = parseStatement(payloadType, payload);
  return { format, where, bundle, bytes: preAuthEncoding(payloadType, payload), statement };
}

/**
 * The bundle that an attached manifest holds: exactly one layer of at most 1 MiB.
 * @throws ReconcileError stalled SignatureInvalid, or of the registry
 */
export async function readBundle(context: VerifyContext, manifest: ImageManifest, where: string): Promise<Signed> {
  const { source, repository, signal } = context;
  const [layer] = manifest.layers;
  if (layer === undefined || manifest.layers.length !== 1) {
    throw refused(`it has ${manifest.layers.length} layers instead of one`);
  }
  if (!BUNDLE_TYPES.has(layer.mediaType)) throw refused(`its layer is ${shown(layer.mediaType)}, not a bundle 0.3`);
  const json = parseJson(await readBlob(source, repository, layer, MAX_SIGNED_BYTES, signal));
  const bundle = await parseBundle(json);
  if (!BUNDLE_TYPES.has(bundle.mediaType)) throw refused(`it is ${shown(bundle.mediaType)}, not a bundle 0.3`);
  return toSigned(context, bundle, where, 'cosign-bundle');
}
