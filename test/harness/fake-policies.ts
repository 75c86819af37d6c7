import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled, transient } from '#core/domain/errors.ts';
import type { PolicyReport, PolicyViolation } from '#core/domain/plan.ts';
import { mandatoryViolations, overridesFor, sayViolations } from '#core/domain/policy.ts';
import type { EngineRequest, PolicyPack } from '#core/engine/port.ts';

/** `policy.json` of a fake pack: no resource may hold a property of the value `forbids`. */
export interface FakePack {
  name: string;
  rules: { policy: string; level: PolicyViolation['level']; forbids: string }[];
  /** The pack does not load. */
  crashes?: boolean;
}

/** Files of a fake pack, to be pushed or bundled. */
export function fakePack(pack: FakePack): Record<string, string> {
  return { 'PulumiPolicy.yaml': 'runtime: nodejs\n', 'policy.json': JSON.stringify(pack) };
}

type Resources = Record<string, Record<string, unknown>>;

async function violationsOf(pack: PolicyPack, resources: Resources, urn: (name: string) => string) {
  const fake: FakePack = JSON.parse(await readFile(join(pack.dir, 'policy.json'), 'utf8'));
  if (fake.crashes === true) throw stalled('PolicyPackFailed', `policy pack ${pack.name} does not load; correct it`);
  const violations = fake.rules.flatMap(({ policy, level: own, forbids }) => {
    const level = pack.config[policy] ?? own;
    return Object.entries(resources)
      .filter(([, properties]) => level !== 'disabled' && Object.values(properties).includes(forbids))
      .map(([name]) => ({
        pack: fake.name,
        policy,
        level: level === 'advisory' ? ('advisory' as const) : ('mandatory' as const),
        urn: urn(name),
        message: `${name} is ${forbids}`,
      }));
  });
  return { name: fake.name, violations };
}

/** What the packs of a request say about resources, as the real engine's report is. */
export async function fakeReport(
  request: EngineRequest,
  resources: Resources,
  urn: (name: string) => string,
): Promise<PolicyReport> {
  const report: PolicyReport = { packs: [], violations: [], remediations: [] };
  for (const pack of request.policyPacks ?? []) {
    const { name, violations } = await violationsOf(pack, resources, urn);
    report.packs.push({ name, version: '1.0.0', digest: pack.digest });
    report.violations.push(...violations);
  }
  return report;
}

/** An apply stops before its first change at what nobody overrode. */
export function stopAtViolations(request: EngineRequest, report: PolicyReport): void {
  const overridden = new Set(request.policyOverrides);
  if (mandatoryViolations(report).length === 0) return;
  if (overridesFor(report).every((key) => overridden.has(key))) return;
  throw transient('PlanStale', `policies are violated: ${sayViolations(report)}; nothing was changed`);
}
