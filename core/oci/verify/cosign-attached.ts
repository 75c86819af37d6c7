import { ReconcileError } from '#core/domain/errors.ts';
import { nameOf, readBlob } from '../content.ts';
import { MAX_MANIFEST_BYTES, parseImageManifest, type ImageManifest } from '../manifest.ts';
import { OCI_INDEX } from '../media-types.ts';
import type { Descriptor } from '../port.ts';
import { BUNDLE_PREDICATE, isBundle, readBundle } from './bundle.ts';
import { refusedAttachment } from './cosign-refusal.ts';
import type { Attachment, Wanted } from './cosign-signed.ts';
import { isLegacy, readLegacy } from './legacy.ts';
import type { VerifyContext } from './verdict.ts';

/** Attached manifests that are looked at, as many as `cosign verify --max-workers` would in a few rounds. */
const MAX_ATTACHED = 50;

/** What was found, one after the other, so that the first that counts ends the search. */
export interface Search {
  attachments: AsyncIterable<Attachment>;
  /** Referrers beyond the limit that are not looked at and do not say that they are something else. */
  passed: number;
}

/**
 * Those whose annotation names what is looked for come first, then those that say nothing, those of other types, and at
 * last those that say they are something else: a repository full of attestations does not hide the one signature.
 * Annotations decide the order only.
 */
function rank({ artifactType, annotations }: Descriptor, wanted: Wanted): number {
  const predicate = annotations?.[BUNDLE_PREDICATE];
  if (predicate !== undefined) return wanted(predicate) ? 0 : SOMETHING_ELSE;
  return artifactType === undefined || artifactType.includes('sigstore') || artifactType.includes('cosign') ? 1 : 2;
}
const SOMETHING_ELSE = 3;

async function readAttached(context: VerifyContext, descriptor: Descriptor, wanted: Wanted): Promise<Attachment[]> {
  const where = `${descriptor.digest.slice(0, 19)}…`;
  let ours = descriptor.artifactType?.includes('sigstore.bundle') === true;
  try {
    const { source, repository, signal } = context;
    const bytes = await readBlob(source, repository, descriptor, MAX_MANIFEST_BYTES, signal);
    const manifest = parseImageManifest(bytes, 'its manifest');
    if (isLegacy(manifest)) return await readLegacy(context, manifest, { where, limit: MAX_ATTACHED, wanted });
    ours = isBundle(manifest);
    return ours ? [{ type: 'signed', signed: await readBundle(context, manifest, where) }] : [];
  } catch (error) {
    const refusal = refusedAttachment(where, error, rank(descriptor, wanted) !== SOMETHING_ELSE);
    return ours ? [refusal] : [];
  }
}

/** The manifest of a tag beside the artifact (`sha256-<hex>.sig`); undefined when there is none. */
async function besideTag(context: VerifyContext, suffix: string): Promise<ImageManifest | undefined> {
  const { source, repository, digest, signal } = context;
  // Tags have 128 characters at most, so sha512 has no such tag.
  if (!digest.startsWith('sha256:')) return undefined;
  const tag = `${digest.replace(':', '-')}.${suffix}`;
  try {
    const descriptor = await source.resolve(repository, tag, signal);
    const bytes = await readBlob(source, repository, descriptor, MAX_MANIFEST_BYTES, signal);
    return parseImageManifest(bytes, nameOf(repository, tag));
  } catch (error) {
    if (error instanceof ReconcileError && error.reason === 'SourceNotFound') return undefined;
    throw error;
  }
}

async function* walk(
  context: VerifyContext,
  descriptors: readonly Descriptor[],
  suffix: 'sig' | 'att',
  wanted: Wanted,
): AsyncGenerator<Attachment> {
  for (const descriptor of descriptors) yield* await readAttached(context, descriptor, wanted);
  const tag = `the tag .${suffix}`;
  try {
    const legacy = await besideTag(context, suffix);
    if (legacy !== undefined) yield* await readLegacy(context, legacy, { where: tag, limit: MAX_ATTACHED, wanted });
  } catch (error) {
    yield refusedAttachment(tag, error, true);
  }
}

/**
 * Everything cosign attached to the digest: all referrers, those that are none of cosign's passed over, and the tag of
 * older versions (`sig` for signatures, `att` for attestations). 50 of each at most.
 * @throws ReconcileError of the registry
 */
export async function searchAttached(context: VerifyContext, suffix: 'sig' | 'att', wanted: Wanted): Promise<Search> {
  const { source, repository, digest, signal } = context;
  const all = await source.referrers(repository, digest, {}, signal);
  const ranked = all
    .filter(({ mediaType }) => mediaType !== OCI_INDEX)
    .map((descriptor) => ({ descriptor, rank: rank(descriptor, wanted) }))
    .sort((one, other) => one.rank - other.rank);
  const looked = ranked.slice(0, MAX_ATTACHED).map(({ descriptor }) => descriptor);
  return {
    attachments: walk(context, looked, suffix, wanted),
    passed: ranked.slice(MAX_ATTACHED).filter((left) => left.rank !== SOMETHING_ELSE).length,
  };
}
