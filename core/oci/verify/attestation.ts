import { stalled, unreachable } from '#core/domain/errors.ts';
import { nameOf } from '../content.ts';
import { atPath, predicateOf } from './attestation-predicate.ts';
import { checkSbom, isSbom } from './attestation-sbom.ts';
import { checkVulnerabilities, scanTime, VULNERABILITIES } from './attestation-vulnerabilities.ts';
import { searchAttached } from './cosign-attached.ts';
import { firstFew, refusalOf, refused, shown } from './cosign-refusal.ts';
import type { Attachment } from './cosign-signed.ts';
import { readTrust, vouch, type Trust, type Voucher } from './cosign-trust.ts';
import { exactly, textMatcher, type Matcher } from '../patterns.ts';
import { checkProvenance, SLSA_V02, SLSA_V1 } from './slsa.ts';
import { checkSubject, type Statement } from './statement.ts';
import type { AttestationRequirement, Signer, Verdict, VerifyContext } from './verdict.ts';

/** A newer scan may find what an older one did not, so a verdict on one is kept for an hour at most. */
const SCAN_HOLDS_MS = 60 * 60_000;

function isScan({ type }: AttestationRequirement): boolean {
  return type === 'vulnerabilities';
}

/** Predicate types that are of the kind a requirement asks for. */
function wantedTypes({ type, predicateType }: AttestationRequirement): Matcher {
  switch (type) {
    case 'slsa-provenance':
      return (text) => text === SLSA_V1 || text === SLSA_V02;
    case 'sbom':
      return isSbom;
    case 'vulnerabilities':
      return exactly(VULNERABILITIES);
    case 'custom':
      if (predicateType === undefined || predicateType === '') {
        throw stalled('SpecInvalid', 'a custom attestation needs its predicateType');
      }
      return textMatcher(predicateType, 'predicateType');
    default:
      return unreachable(type);
  }
}

function checkFields(predicate: unknown, { fields = [] }: AttestationRequirement): void {
  for (const { path, equals } of fields) {
    const found = atPath(predicate, path);
    const holds =
      typeof equals === 'string'
        ? typeof found === 'string' && textMatcher(equals, `the field ${path}`)(found)
        : found === equals;
    if (!holds)
      throw refused(`its ${shown(path)} is ${shown(JSON.stringify(found) ?? 'missing')}, not ${String(equals)}`);
  }
}

/** Says in a few words what is stated. @throws ReconcileError stalled SignatureInvalid when it is not what is required */
function checkClaims(statement: Statement, voucher: Voucher, requirement: AttestationRequirement): string {
  const predicate = predicateOf(statement);
  checkFields(predicate, requirement);
  switch (requirement.type) {
    case 'slsa-provenance':
      return checkProvenance(statement.predicateType, predicate, requirement, voucher.certificate);
    case 'sbom':
      return checkSbom(predicate);
    case 'vulnerabilities':
      return checkVulnerabilities(predicate, requirement);
    case 'custom':
      return '';
    default:
      return unreachable(requirement.type);
  }
}

/** A statement whose signer is trusted: what it comes to, and when it was made where that decides. */
interface Judged {
  time: number | undefined;
  outcome: { signer: Signer } | { refusal: string };
}

async function judge(
  context: VerifyContext,
  attachment: Extract<Attachment, { type: 'signed' }>,
  trust: Trust,
  requirement: AttestationRequirement,
): Promise<Judged | { refusal: string }> {
  const { format, statement, where } = attachment.signed;
  if (statement === undefined) return { refusal: `${where}: it states nothing` };
  let voucher: Voucher;
  try {
    checkSubject(statement, context.digest);
    voucher = await vouch(attachment.signed, trust);
  } catch (error) {
    return { refusal: `${where}: ${refusalOf(error)}` };
  }
  const time = isScan(requirement) ? scanTime(predicateOf(statement)) : undefined;
  try {
    const says = checkClaims(statement, voucher, requirement);
    const name = says === '' ? voucher.name : `${voucher.name} (${says})`;
    const until = isScan(requirement) ? { validUntil: new Date(context.now.getTime() + SCAN_HOLDS_MS) } : {};
    const signer: Signer = { format, name, digest: context.digest, statement: statement.predicateType, ...until };
    return { time, outcome: { signer } };
  } catch (error) {
    return { time, outcome: { refusal: `${where}, by ${voucher.name}: ${refusalOf(error)}` } };
  }
}

/** Of several scans by those trusted the newest counts; where one does not say when it was, all have to hold. */
function decideScans(scans: readonly Judged[]): Judged['outcome'] | undefined {
  const times = scans.map(({ time }) => time);
  const newest = times.includes(undefined) ? undefined : Math.max(...times.map((time) => time ?? 0));
  const counting = newest === undefined ? scans : scans.filter(({ time }) => time === newest);
  const outcomes = counting.map(({ outcome }) => outcome);
  return outcomes.find((outcome) => 'refusal' in outcome) ?? outcomes[0];
}

function summarize(
  { repository, digest }: VerifyContext,
  { type, predicateType }: AttestationRequirement,
  refusals: string[],
  passed: number,
): Verdict {
  const where = nameOf(repository, digest);
  const what = type === 'custom' ? `${predicateType ?? ''} attestation` : `${type} attestation`;
  const rest = passed > 0 ? `; ${passed} more attached manifests were not looked at, remove those nobody needs` : '';
  if (refusals.length === 0) {
    return { type: 'missing', message: `no ${what} of ${where} is attached; attach it with \`cosign attest\`${rest}` };
  }
  return { type: 'refused', message: `no ${what} of ${where} counts: ${firstFew(refusals)}${rest}` };
}

/**
 * Whether an attestation of the digest meets a requirement: a signed in-toto statement (v1 or v0.1) about exactly this
 * digest, by one whose word counts, that says what is required. One that does is enough; of vulnerability scans the newest
 * decides; where one may be among what is not read (more than 50 attached manifests, more than 1 MiB), no scan is believed.
 * @throws ReconcileError stalled SpecInvalid for a policy that cannot be read, or of the registry
 */
export async function verifyAttestation(context: VerifyContext, requirement: AttestationRequirement): Promise<Verdict> {
  const trust = await readTrust(requirement.signedBy);
  const wanted = wantedTypes(requirement);
  const { attachments, passed } = await searchAttached(context, 'att', wanted);
  const refusals: string[] = [];
  let unread = passed;
  const scans: Judged[] = [];
  for await (const attachment of attachments) {
    if (attachment.type === 'refused') {
      refusals.push(attachment.why);
      if (attachment.unread) unread += 1;
      continue;
    }
    const { statement } = attachment.signed;
    if (statement === undefined || !wanted(statement.predicateType)) continue;
    const judged = await judge(context, attachment, trust, requirement);
    if ('refusal' in judged) refusals.push(judged.refusal);
    else if (isScan(requirement)) scans.push(judged);
    else if ('signer' in judged.outcome) return { type: 'verified', signers: [judged.outcome.signer] };
    else refusals.push(judged.outcome.refusal);
  }
  const decided = decideScans(scans);
  if (decided !== undefined && 'signer' in decided && unread === 0)
    return { type: 'verified', signers: [decided.signer] };
  if (decided !== undefined && 'refusal' in decided) refusals.unshift(decided.refusal);
  if (decided !== undefined && unread > 0) refusals.unshift('a newer scan may be among those not looked at');
  return summarize(context, requirement, refusals, passed);
}
