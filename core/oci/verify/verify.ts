import { unreachable } from '#core/domain/errors.ts';
import type { Selection } from '../artifact.ts';
import { findProgram } from '../program-manifest.ts';
import { verifyAttestation } from './attestation.ts';
import { verifyCosign } from './cosign.ts';
import { verifyNotation } from './notation.ts';
import type { AttestationRequirement, CosignTrust, NotationTrust, Verdict, VerifyContext } from './verdict.ts';

/** A policy with its keys, roots and certificates in hand. Every block that is there must be met. */
export interface TrustMaterial {
  cosign?: CosignTrust;
  notation?: NotationTrust;
  attestations: AttestationRequirement[];
}

type Check = (context: VerifyContext) => Promise<Verdict>;

function checksOf({ cosign, notation, attestations }: TrustMaterial): Check[] {
  return [
    ...(cosign === undefined ? [] : [(context: VerifyContext) => verifyCosign(context, cosign)]),
    ...(notation === undefined ? [] : [(context: VerifyContext) => verifyNotation(context, notation)]),
    ...attestations.map((requirement) => (context: VerifyContext) => verifyAttestation(context, requirement)),
  ];
}

/** Digests whose signatures count: what the source named, and, for an index, the one manifest it stands for. */
async function subjects(
  { source, repository, digest, signal }: VerifyContext,
  selection: Selection,
): Promise<string[]> {
  const { chosen } = await findProgram(source, { repository, digest }, selection, signal);
  return chosen === undefined ? [digest] : [digest, chosen.digest];
}

/** One check over all subjects: the first that holds; else what was said about the index, or about what it holds. */
async function checkAny(check: Check, context: VerifyContext, digests: readonly string[]): Promise<Verdict> {
  let said: Verdict = { type: 'missing', message: `nothing is attached to ${context.digest}` };
  for (const digest of digests) {
    const verdict = await check({ ...context, digest });
    if (verdict.type === 'verified') return verdict;
    if (said.type === 'missing') said = verdict;
  }
  return said;
}

/**
 * Holds an artifact against a policy; nothing of it but manifests and what is attached to them is fetched.
 * @throws ReconcileError of the registry, or ArtifactInvalid where the manifest is none we could run
 */
export async function verifyArtifact(
  context: VerifyContext,
  material: TrustMaterial,
  selection: Selection = {},
): Promise<Verdict> {
  const checks = checksOf(material);
  if (checks.length === 0) return { type: 'missing', message: 'the policy names nobody whose signature would count' };
  const digests = await subjects(context, selection);
  const signers = [];
  for (const check of checks) {
    const verdict = await checkAny(check, context, digests);
    switch (verdict.type) {
      case 'verified':
        signers.push(...verdict.signers);
        break;
      case 'missing':
      case 'refused':
        return verdict;
      default:
        return unreachable(verdict);
    }
  }
  return { type: 'verified', signers };
}
