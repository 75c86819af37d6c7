import semver from 'semver';
import { PHASES, secretOf, type Phase } from '#core/domain/credential.ts';
import { ignoreErrors } from '#core/domain/drift-ignore.ts';
import { parseDuration } from '#core/domain/duration.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import { parseRepository } from '#core/domain/reference.ts';
import { backendErrors } from '#core/engine/backends.ts';
import { parseEgress } from '#core/engine/egress/rules.ts';
import { parseIgnore } from '#core/oci/ignore.ts';
import { readCloudHost } from '#core/oci/identity/cloud-host.ts';
import { policySecrets } from '#core/domain/verification.ts';
import { credentialErrors, type Abilities } from './credential-rules.ts';
import { policyPackErrors, policyPackSecrets } from './policy-rules.ts';
import { patternErrors, refusals, verifyErrors } from './verify-rules.ts';

export interface SpecError {
  /** Path in the manifest, as in `spec/source/ref`. */
  path: string;
  message: string;
}

const SECOND = 1000;
const DAY = 86_400_000;

/** Shortest and longest duration of each field: nothing spins, nothing waits for ever. */
function durationErrors(spec: StackSpec): SpecError[] {
  const limits: [string, string | undefined, number, number][] = [
    ['source/interval', spec.source.interval, SECOND, 30 * DAY],
    ['drift/interval', spec.drift?.interval, SECOND, 30 * DAY],
    ['retry/interval', spec.retry?.interval, SECOND, DAY],
    ['approval/expires', spec.approval?.expires, SECOND, 7 * DAY],
    ['timeouts/plan', spec.timeouts?.plan, SECOND, DAY],
    ['timeouts/apply', spec.timeouts?.apply, SECOND, DAY],
  ];
  return limits.flatMap(([path, text, least, most]) => {
    if (text === undefined) return [];
    const ms = parseDuration(text);
    if (ms >= least && ms <= most) return [];
    return [{ path: `spec/${path}`, message: `${text} is not between ${least / 1000} s and ${most / 1000} s` }];
  });
}

/** An identity is given to hosts of its own cloud only. */
function cloudErrors(repository: string, cloud: StackSpec['source']['workloadIdentity']): SpecError[] {
  if (cloud === undefined) return [];
  return refusals('spec/source/workloadIdentity', () => readCloudHost(cloud, parseRepository(repository).host));
}

function sourceErrors({ repository, ref, path, ...source }: StackSpec['source']): SpecError[] {
  const errors = [
    ...refusals('spec/source/repository', () => parseRepository(repository)),
    ...patternErrors('spec/source/ref/filter', ref.filter),
    ...verifyErrors('spec/source/verify', source.verify),
    ...refusals('spec/source/ignore', () => parseIgnore(source.ignore ?? '', 'spec.source.ignore')),
  ];
  errors.push(...cloudErrors(repository, source.workloadIdentity));
  if (source.credentials !== undefined && source.workloadIdentity !== undefined) {
    errors.push({
      path: 'spec/source/workloadIdentity',
      message: 'a secret and a workload identity exclude each other',
    });
  }
  if (ref.semver === undefined && (ref.filter !== undefined || ref.prerelease !== undefined)) {
    errors.push({ path: 'spec/source/ref', message: 'filter and prerelease belong to a semver range' });
  }
  if (ref.semver !== undefined && semver.validRange(ref.semver) === null) {
    errors.push({ path: 'spec/source/ref/semver', message: `${ref.semver} is not a semver range` });
  }
  const parts = path?.split('/') ?? [];
  if (path !== undefined && (path.startsWith('/') || path.includes('\\') || parts.includes('..'))) {
    errors.push({ path: 'spec/source/path', message: `${path} leads out of the artifact` });
  }
  return errors;
}

/** What a schema cannot say about a Stack's spec; empty when it is fine. */
export function specErrors(
  spec: StackSpec,
  abilities: Abilities = { mintsTokens: false },
  now = new Date(),
): SpecError[] {
  const backend = backendErrors(spec.pulumi).map(({ path, message }) => ({ path: `spec/pulumi/${path}`, message }));
  const ignored = ignoreErrors(spec.drift?.ignore ?? [], now);
  return [
    ...sourceErrors(spec.source),
    ...durationErrors(spec),
    ...policyPackErrors('spec/pulumi/policyPacks', spec.pulumi.policyPacks),
    ...backend,
    ...refusals('spec/network/egress', () => parseEgress(spec.network?.egress ?? [])),
    ...credentialErrors(spec, abilities),
    ...ignored,
  ];
}

/** A named secret a spec uses; without a key the whole of it. */
export interface SecretUse {
  path: string;
  secret: string;
  key: string | undefined;
}

/** The keys a role is assumed with. */
function roleKeys(spec: StackSpec, phase: Phase): (SecretUse & { key: string })[] {
  const source = spec.credentials?.[phase];
  if (typeof source !== 'object' || !('assumeRole' in source)) return [];
  return ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'].map((key) => ({
    path: `spec/credentials/${phase}/secret`,
    secret: source.secret,
    key,
  }));
}

/** Every secret a spec names, with the place that names it. */
export function secretUses(spec: StackSpec): SecretUse[] {
  const whole: [string, string | undefined][] = [
    ['source/credentials', spec.source.credentials],
    ['credentials/plan', secretOf(spec.credentials?.plan)],
    ['credentials/apply', secretOf(spec.credentials?.apply)],
  ];
  const uses = whole.flatMap(([path, secret]) =>
    secret === undefined ? [] : [{ path: `spec/${path}`, secret, key: undefined }],
  );
  const keyed = Object.entries(spec.pulumi.secrets ?? {}).map(([name, ref]) => ({
    path: `spec/pulumi/secrets/${name}`,
    secret: ref.secret,
    key: ref.key,
  }));
  for (const phase of PHASES) keyed.push(...roleKeys(spec, phase));
  const { passphrase } = spec.pulumi;
  if (passphrase !== undefined) keyed.push({ path: 'spec/pulumi/passphrase', ...passphrase });
  const { evidence } = spec;
  if (evidence !== undefined) keyed.push({ path: 'spec/evidence/key', secret: evidence.key, key: 'cosign.key' });
  const trusted = policySecrets(spec.source.verify).map((secret) => ({
    path: 'spec/source/verify',
    secret,
    key: undefined,
  }));
  const packs = policyPackSecrets('spec/pulumi/policyPacks', spec.pulumi.policyPacks);
  return [...uses, ...keyed, ...trusted, ...packs];
}
