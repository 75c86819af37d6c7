import type { PolicyPackRef, StackSpec, TenantSpec } from './manifest.ts';
import { digestOf, type BoundDocument, type PolicyReport, type PolicyViolation } from './plan.ts';
import { urnName } from './urn.ts';

/** A plan that no policy pack looked at. */
export const NO_POLICIES: PolicyReport = { packs: [], violations: [], remediations: [] };

/**
 * One violation as a text: of this policy, by this resource. A pack's name holds neither slash nor space, so two violations
 * never have one text.
 */
export function violationKey({ pack, policy, urn = '' }: Pick<PolicyViolation, 'pack' | 'policy' | 'urn'>): string {
  return `${pack}/${policy} ${urn}`;
}

/** What stops a plan: what a mandatory policy says, or one that was to mend a resource and could not. */
export function mandatoryViolations({ violations }: PolicyReport): PolicyViolation[] {
  return violations.filter(({ level }) => level === 'mandatory' || level === 'remediate');
}

/** Exactly the violations an override of this report is about, each once, in order. */
export function overridesFor(report: PolicyReport): string[] {
  return [...new Set(mandatoryViolations(report).map(violationKey))].sort();
}

/** A violation in one line: what, by whom, why. */
function sayViolation({ pack, policy, urn, message }: PolicyViolation): string {
  const resource = urnName(urn ?? '') || 'the stack';
  return `${pack}/${policy} on ${resource}: ${message.replaceAll(/\s+/g, ' ').trim()}`;
}

/** Longest text about violations in a message; the plan has all of them. */
const SAID = 5;

/** The mandatory violations of a report in one sentence; empty when there are none. */
export function sayViolations(report: PolicyReport): string {
  const found = mandatoryViolations(report);
  const said = found.slice(0, SAID).map(sayViolation).join('; ');
  return found.length > SAID ? `${said}; and ${found.length - SAID} more` : said;
}

/** A pack that a run must run, and whose word that is. */
export interface WantedPack {
  /** How people know it: `host/name:tag` or the folder in the artifact. */
  name: string;
  ref: PolicyPackRef;
  from: 'tenant' | 'stack';
}

function nameOf(ref: PolicyPackRef): string {
  return ref.oci?.replace(/^oci:\/\//, '') ?? normalFolder(ref.path ?? '');
}

/** A folder of the artifact as it is compared: without `./` before and `/` behind. */
export function normalFolder(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  return parts.length === 0 ? '.' : parts.join('/');
}

/**
 * The packs a stack's runs must run: its tenant's, then its own. What the tenant requires counts as the tenant wrote it; a
 * stack can neither drop it nor give it other settings.
 */
export function wantedPacks(tenant: Pick<TenantSpec, 'policyPacks'>, spec: StackSpec): WantedPack[] {
  const required = (tenant.policyPacks ?? []).map((ref) => ({ name: nameOf(ref), ref, from: 'tenant' as const }));
  const own = (spec.pulumi.policyPacks ?? []).map((ref) => ({ name: nameOf(ref), ref, from: 'stack' as const }));
  const taken = new Set<string>();
  return [...required, ...own].filter(({ name }) => !taken.has(name) && taken.add(name));
}

/** What of a pack an approval is bound to: its content, and the settings it runs with. */
export function boundPack({ digest, config }: { digest: string; config: Record<string, unknown> }): string {
  return Object.keys(config).length === 0 ? digest : `${digest} config ${digestOf(config)}`;
}

/** The digest in what `boundPack` made. */
export function digestOfBound(bound: string | undefined): string | undefined {
  return bound?.split(' ', 1)[0];
}

/** The policies of a bound document; undefined where no pack ran and none is wanted. */
export function boundPolicies(packs: Record<string, string>, report: PolicyReport): Pick<BoundDocument, 'policies'> {
  if (Object.keys(packs).length === 0) return {};
  return { policies: { packs, results: digestOf(report), overridden: overridesFor(report) } };
}
