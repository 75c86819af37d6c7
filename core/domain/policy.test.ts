import { expect, it } from 'vitest';
import type { PolicyPackRef, StackSpec } from './manifest.ts';
import type { PolicyReport } from './plan.ts';
import {
  boundPack,
  boundPolicies,
  digestOfBound,
  normalFolder,
  overridesFor,
  sayViolations,
  wantedPacks,
} from './policy.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

function spec(...policyPacks: PolicyPackRef[]): StackSpec {
  return { source: { repository: 'oci://r.example/shop', ref: {} }, pulumi: { stack: 'prod', policyPacks } };
}

function report(...levels: PolicyReport['violations'][number]['level'][]): PolicyReport {
  const violations = levels.map((level, index) => ({
    pack: 'base',
    policy: `p${index}`,
    level,
    urn: `urn:pulumi:prod::shop::aws:s3/bucket:Bucket::b${index}`,
    message: 'is\n  public',
  }));
  return { packs: [], violations, remediations: [] };
}

it('runs what the tenant requires as the tenant wrote it, and then what the stack adds', () => {
  const required = { oci: 'oci://r.example/base:1', config: { p: 'mandatory' } };
  const weakened = { oci: 'oci://r.example/base:1', config: { p: 'disabled' } };
  const own = { path: './rules/' };
  expect(wantedPacks({ policyPacks: [required] }, spec(weakened, own, own))).toEqual([
    { name: 'r.example/base:1', ref: required, from: 'tenant' },
    { name: 'rules', ref: own, from: 'stack' },
  ]);
  expect(wantedPacks({}, spec())).toEqual([]);
});

it.each([
  ['.', '.'],
  ['./', '.'],
  ['a//b/', 'a/b'],
  ['./a/./b', 'a/b'],
])('takes the folder %s for %s', (path, folder) => {
  expect(normalFolder(path)).toBe(folder);
});

it('overrides mandatory violations, and those that were to be mended, each once', () => {
  const said = report('mandatory', 'advisory', 'remediate');
  const [first, , third] = said.violations;
  const twice = { ...said, violations: [...said.violations, ...said.violations] };
  expect(overridesFor(twice)).toEqual([`base/p0 ${first?.urn}`, `base/p2 ${third?.urn}`]);
  expect(overridesFor(report('advisory', 'disabled'))).toEqual([]);
});

it('says what stops a plan in one line, and how much more there is', () => {
  expect(sayViolations(report('mandatory', 'advisory'))).toBe('base/p0 on b0: is public');
  expect(sayViolations(report(...Array.from({ length: 7 }, () => 'mandatory' as const)))).toMatch(/; and 2 more$/);
});

it('binds a pack to its content and its settings, and a plan to packs and results', () => {
  const plain = boundPack({ digest: DIGEST, config: {} });
  const set = boundPack({ digest: DIGEST, config: { p: 'advisory' } });
  expect(plain).toBe(DIGEST);
  expect(set).not.toBe(boundPack({ digest: DIGEST, config: { p: 'disabled' } }));
  expect(digestOfBound(set)).toBe(DIGEST);
  expect(boundPolicies({}, report())).toEqual({});
  const one = boundPolicies({ base: plain }, report('mandatory'));
  expect(one).not.toEqual(boundPolicies({ base: plain }, report('advisory')));
  expect(one).not.toEqual(boundPolicies({ base: set }, report('mandatory')));
});
