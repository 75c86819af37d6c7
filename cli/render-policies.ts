import { urnName } from '#core/domain/urn.ts';
import type { PoliciesView } from '#core/domain/view.ts';
import { printable } from './printable.ts';
import { renderValue } from './render-changes.ts';

type Violation = PoliciesView['violations'][number];
type Remediation = PoliciesView['remediations'][number];

function nameOf(urn: string | undefined): string {
  return urnName(urn ?? '') || 'the stack';
}

function renderViolation({ pack, policy, level, urn, message }: Violation): string {
  const sign = level === 'mandatory' ? '!' : '*';
  const said = message.replaceAll(/\s+/g, ' ').trim();
  return printable(`${sign} ${level}: ${pack}/${policy} on ${nameOf(urn)}: ${said}`);
}

/** The properties a policy changed, at their top. */
function changedKeys({ before, after }: Remediation): string[] {
  const [old, now] = [Object(before), Object(after)] as Record<string, unknown>[];
  const keys = [...new Set([...Object.keys(old ?? {}), ...Object.keys(now ?? {})])].sort();
  return keys
    .filter((key) => JSON.stringify(old?.[key]) !== JSON.stringify(now?.[key]))
    .map((key) => `${key}: ${renderValue(old?.[key])} → ${renderValue(now?.[key])}`);
}

function renderRemediation(remediation: Remediation): string {
  const { pack, policy, urn } = remediation;
  return `~ mended: ${printable(`${pack}/${policy} on ${nameOf(urn)}`)}: ${changedKeys(remediation).join(', ')}`;
}

/** What policy packs said of a plan, the mandatory first; empty without packs. */
export function renderPolicies({ packs, violations, remediations }: PoliciesView): string[] {
  if (packs.length === 0) return [];
  const rank = ({ level }: Violation) => (level === 'mandatory' ? 0 : 1);
  const sorted = violations.toSorted((a, b) => rank(a) - rank(b));
  return [
    printable(`policies: ${packs.map(({ name, version }) => `${name} ${version}`).join(', ')}`),
    ...sorted.map(renderViolation),
    ...remediations.map(renderRemediation),
    ...(violations.length === 0 ? ['no violations'] : []),
  ];
}
