import type { PartLayer } from './artifact-parts.ts';
import type { ProgramArtifact, Selection } from './artifact.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import type { Fetcher, Repository, Resolver } from './port.ts';
import { findProgram } from './program-manifest.ts';
import { unpackArtifact } from './unpack-artifact.ts';

export interface PullRequest {
  client: Resolver & Fetcher;
  repository: Repository;
  /** A tag or a digest. */
  reference: string;
  selection: Selection;
  signal: AbortSignal;
}

export interface PulledProgram {
  digest: string;
  artifact: ProgramArtifact;
  /** What it brings beside the program; not unpacked. */
  parts: PartLayer[];
}

/**
 * Unpacks the program of an artifact, and only that, into `tree` of `scratch`, a fresh folder that the caller deletes. For
 * people: nobody asks who signed it.
 * @throws ReconcileError as `unpackArtifact` and the source do
 */
export async function pullProgram(request: PullRequest, scratch: string): Promise<PulledProgram> {
  const { client, repository, reference, selection, signal } = request;
  const { digest } = await client.resolve(repository, reference, signal);
  const { artifact, what } = await findProgram(client, { repository, digest }, selection, signal);
  const limits = DEFAULT_LIMITS;
  await unpackArtifact({ source: client, repository, artifact, parts: [], selection, limits, what, signal }, scratch);
  return { digest, artifact, parts: artifact.parts };
}
