import { listAt, textAt } from './attestation-predicate.ts';
import { refused } from './cosign-refusal.ts';

/** Predicates that are a bill of materials; versions follow a slash (spdx.dev/Document/v2.3, cyclonedx.org/bom/v1.6). */
const SBOM_TYPES = ['https://spdx.dev/Document', 'https://cyclonedx.org/bom'] as const;

export function isSbom(predicateType: string): boolean {
  return SBOM_TYPES.some((type) => predicateType === type || predicateType.startsWith(`${type}/`));
}

/** Packages of SPDX 2 (JSON or tag-value), SPDX 3 (JSON-LD) or CycloneDX (JSON). */
function countPackages(predicate: unknown): number {
  if (typeof predicate === 'string') {
    return predicate.includes('SPDXVersion:') ? (predicate.match(/^PackageName:/gm) ?? []).length : 0;
  }
  const isSpdx = textAt(predicate, 'spdxVersion') !== undefined;
  if (isSpdx) return listAt(predicate, 'packages')?.length ?? 0;
  if (textAt(predicate, 'bomFormat') === 'CycloneDX') return listAt(predicate, 'components')?.length ?? 0;
  const graph = listAt(predicate, '@graph') ?? [];
  return graph.filter((node) => textAt(node, 'type') === 'software_Package').length;
}

/** Says what the bill holds. @throws ReconcileError stalled SignatureInvalid when it names no package */
export function checkSbom(predicate: unknown): string {
  const packages = countPackages(predicate);
  if (packages === 0) throw refused('its bill of materials cannot be read, or names no package');
  return `${packages} packages`;
}
