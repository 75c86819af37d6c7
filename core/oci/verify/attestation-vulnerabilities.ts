import { atPath, listAt, textAt } from './attestation-predicate.ts';
import { refused, shown } from './cosign-refusal.ts';
import type { AttestationRequirement } from './verdict.ts';

/** cosign's vulnerability scan record (sigstore/cosign specs/COSIGN_VULN_ATTESTATION_SPEC.md). */
export const VULNERABILITIES = 'https://cosign.sigstore.dev/attestation/vuln/v1';

/** A word we do not know counts as the worst: what cannot be judged is never passed. */
const RANKS: Readonly<Record<string, number>> = { none: 0, negligible: 1, low: 1, medium: 2, moderate: 2, high: 3 };
const WORST = 4;

/** One finding of a scanner. */
interface Finding {
  id: string;
  severity: string;
}

function finding(id: unknown, severity: unknown): Finding {
  return {
    id: typeof id === 'string' ? id : '?',
    severity: typeof severity === 'string' ? severity.toLowerCase() : 'unknown',
  };
}

/** Trivy: `Results[].Vulnerabilities[]`; older ones are the list alone. */
function ofTrivy(result: unknown): Finding[] | undefined {
  const targets = Array.isArray(result) ? result : listAt(result, 'Results');
  if (targets === undefined || targets.length === 0) return undefined;
  if (targets.some((target) => textAt(target, 'Target') === undefined)) return undefined;
  const lists = targets.map((target) => {
    const found = atPath(target, 'Vulnerabilities');
    return found === undefined || found === null ? [] : Array.isArray(found) ? found : undefined;
  });
  if (lists.includes(undefined)) return undefined;
  return lists.flatMap((list) =>
    (list ?? []).map((entry) => finding(atPath(entry, 'VulnerabilityID'), atPath(entry, 'Severity'))),
  );
}

/** Grype: `matches[].vulnerability`. */
function ofGrype(result: unknown): Finding[] | undefined {
  const matches = listAt(result, 'matches');
  if (matches === undefined || textAt(result, 'descriptor.name') !== 'grype') return undefined;
  return matches.map((match) => finding(atPath(match, 'vulnerability.id'), atPath(match, 'vulnerability.severity')));
}

/** When a scan ended, in milliseconds; undefined where it does not say (Go writes year 1 for that). */
export function scanTime(predicate: unknown): number | undefined {
  const time = Date.parse(textAt(predicate, 'metadata.scanFinishedOn') ?? '');
  return Number.isNaN(time) || time <= 0 ? undefined : time;
}

/**
 * Says what a scan found.
 * @throws ReconcileError stalled SignatureInvalid for a finding above the highest severity allowed (by default `high`:
 *   nothing critical), or a result that is neither Trivy's nor Grype's
 */
export function checkVulnerabilities(predicate: unknown, { maxSeverity = 'high' }: AttestationRequirement): string {
  const result = atPath(predicate, 'scanner.result');
  const findings = ofTrivy(result) ?? ofGrype(result);
  if (findings === undefined) throw refused('its scan result is none of Trivy or Grype that can be read');
  const allowed = RANKS[maxSeverity] ?? 0;
  const above = findings.filter(({ severity }) => (RANKS[severity] ?? WORST) > allowed);
  const [first] = above;
  if (first !== undefined) {
    const more = above.length > 1 ? ` and ${above.length - 1} more` : '';
    throw refused(`it found ${shown(first.id)} (${shown(first.severity)})${more}, above the allowed ${maxSeverity}`);
  }
  // No count: it is bound to approvals, and the next scan of the same artifact may find another low one.
  return maxSeverity === 'none' ? 'no vulnerability' : `no vulnerability above ${maxSeverity}`;
}
