import { stalled } from '#core/domain/errors.ts';
import { readArtifact, type ProgramArtifact, type Selection } from './artifact.ts';
import { nameOf, readManifest } from './content.ts';
import type { Fetcher, Repository, Resolver } from './port.ts';

/** The exact bytes of a manifest, what they are and their digest. */
export interface NamedManifest {
  bytes: Buffer;
  mediaType: string;
  digest: string;
}

/** A program with the manifests that led to it. */
export interface FoundProgram {
  artifact: ProgramArtifact;
  /** What the digest named: a manifest, or an index. */
  manifest: NamedManifest;
  /** The one manifest of the index, where there is one. */
  chosen: NamedManifest | undefined;
  /** `host/name@digest`, for messages. */
  what: string;
}

/**
 * The manifest of a program, through an index where there is one; its annotations go over those of the index.
 * @throws ReconcileError as the source does; stalled ArtifactInvalid
 */
export async function findProgram(
  source: Resolver & Fetcher,
  at: { repository: Repository; digest: string },
  selection: Selection,
  signal: AbortSignal,
): Promise<FoundProgram> {
  const { repository, digest } = at;
  const what = nameOf(repository, digest);
  const manifest = { ...(await readManifest(source, repository, digest, signal)), digest };
  const first = readArtifact(manifest, what, selection);
  if (first.type === 'program') return { artifact: first, manifest, chosen: undefined, what };
  const { descriptor } = first;
  const bytes = await readManifest(source, repository, descriptor, signal);
  const chosen = { ...bytes, digest: descriptor.digest };
  const second = readArtifact(chosen, nameOf(repository, descriptor.digest), selection);
  if (second.type === 'index')
    throw stalled('ArtifactInvalid', `${what} is an index of an index; push a single program`);
  const annotations = { ...first.annotations, ...second.annotations };
  return { artifact: { ...second, annotations }, manifest, chosen, what };
}
