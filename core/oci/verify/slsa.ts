import { atPath, listAt, textAt } from './attestation-predicate.ts';
import { refused, shown } from './cosign-refusal.ts';
import type { CertificateIdentity } from './keyless-certificate.ts';
import { anyText } from '../patterns.ts';
import { commitOf, sourceAt, splitAddress, type SourceClaim } from './slsa-source.ts';
import type { AttestationRequirement } from './verdict.ts';

/** Provenance of the Supply-chain Levels for Software Artifacts (slsa.dev/spec, provenance v1 and v0.2). */
export const SLSA_V1 = 'https://slsa.dev/provenance/v1';
export const SLSA_V02 = 'https://slsa.dev/provenance/v0.2';

interface Material {
  uri: string | undefined;
  hasDigest: boolean;
  commit: string | undefined;
}

/** What a provenance claims, of whatever version. */
interface Provenance {
  builder: string | undefined;
  buildType: string | undefined;
  sources: SourceClaim[];
  materials: Material[] | undefined;
}

function materialsAt(predicate: unknown, path: string): Material[] | undefined {
  return listAt(predicate, path)?.map((entry) => {
    const digest = atPath(entry, 'digest');
    const values = typeof digest === 'object' && digest !== null ? Object.values(digest) : [];
    const hasDigest = values.some((value) => typeof value === 'string' && value.length >= 32);
    return { uri: textAt(entry, 'uri'), hasDigest, commit: commitOf(entry) };
  });
}

/** Places of the source in `externalParameters`, by build type: GitHub and GitLab workflows, generic, Cloud Build, BuildKit. */
const V1_SOURCES = ['workflow', 'source', 'sourceToBuild', 'buildConfigSource', 'configSource'] as const;

function readProvenance(predicateType: string, predicate: unknown): Provenance {
  if (predicateType === SLSA_V02) {
    return {
      builder: textAt(predicate, 'builder.id'),
      buildType: textAt(predicate, 'buildType'),
      sources: [sourceAt(predicate, 'invocation.configSource')].flatMap((source) => source ?? []),
      materials: materialsAt(predicate, 'materials'),
    };
  }
  const parameters = atPath(predicate, 'buildDefinition.externalParameters');
  return {
    builder: textAt(predicate, 'runDetails.builder.id'),
    buildType: textAt(predicate, 'buildDefinition.buildType'),
    sources: V1_SOURCES.flatMap((path) => sourceAt(parameters, path) ?? []),
    materials: materialsAt(predicate, 'buildDefinition.resolvedDependencies'),
  };
}

/** What Fulcio saw of the workflow that signed, as one more claim: it has to agree. */
function ofCertificate(certificate: CertificateIdentity | undefined): SourceClaim[] {
  if (certificate === undefined) return [];
  const { sourceRepository: repository, sourceRef: ref, sourceDigest: commit } = certificate;
  if (repository === undefined && ref === undefined) return [];
  return [{ repository, ref, commit }];
}

function checkOne(what: string, value: string | undefined, allowed: string[] | undefined): void {
  if (allowed === undefined) return;
  if (value === undefined) throw refused(`it names no ${what}`);
  if (!anyText(allowed, what)(value)) throw refused(`its ${what} ${shown(value)} is none that is allowed`);
}

/** Every claim has to be allowed, and there has to be one: what two sides tell differently is believed of neither. */
function checkAll(what: string, values: readonly (string | undefined)[], allowed: string[] | undefined): void {
  if (allowed === undefined) return;
  const told = values.filter((value) => value !== undefined);
  if (told.length === 0) throw refused(`it names no ${what}`);
  for (const value of told) checkOne(what, value, allowed);
}

/** Of one repository there is one commit, whoever names it: the certificate, the parameters or the materials. */
function checkCommits(claims: readonly SourceClaim[], materials: readonly Material[]): void {
  const checkouts = materials.map(({ uri = '', commit }) => ({ ...splitAddress(uri), commit }));
  for (const { repository } of claims) {
    const same = [...claims, ...checkouts].filter((claim) => claim.repository === repository);
    const commits = new Set(same.flatMap(({ commit }) => commit ?? []));
    if (commits.size > 1) throw refused(`it and its certificate name different commits of ${shown(repository ?? '')}`);
  }
}

function checkMaterials(materials: Material[] | undefined, allowed: string[] | undefined): void {
  if (allowed === undefined) return;
  if (materials === undefined || materials.length === 0) throw refused('it names nothing that went into the build');
  for (const { uri, hasDigest } of materials) {
    checkOne('material', uri, allowed);
    if (!hasDigest) throw refused(`its material ${shown(uri ?? '')} has no digest`);
  }
}

/**
 * Says who built the artifact from what.
 * @throws ReconcileError stalled SignatureInvalid for what the requirement does not allow
 */
export function checkProvenance(
  predicateType: string,
  predicate: unknown,
  requirement: AttestationRequirement,
  certificate: CertificateIdentity | undefined,
): string {
  const { builders, buildTypes, sourceRepositories, sourceRefs, materials } = requirement;
  const provenance = readProvenance(predicateType, predicate);
  const { builder } = provenance;
  if (builder === undefined) throw refused('it is no provenance that can be read: it names no builder');
  const claims = [...provenance.sources, ...ofCertificate(certificate)];
  checkOne('builder', builder, builders);
  checkOne('build type', provenance.buildType, buildTypes);
  checkAll(
    'source repository',
    claims.map(({ repository }) => repository),
    sourceRepositories,
  );
  checkAll(
    'source ref',
    claims.map(({ ref }) => ref),
    sourceRefs,
  );
  if (sourceRepositories !== undefined || sourceRefs !== undefined) checkCommits(claims, provenance.materials ?? []);
  checkMaterials(provenance.materials, materials);
  const [source] = claims;
  const from = source?.repository === undefined ? '' : ` from ${source.repository}`;
  return `built by ${builder}${from}${source?.ref === undefined ? '' : ` at ${source.ref}`}`;
}
