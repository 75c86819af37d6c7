import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { digestOf } from '#core/domain/plan.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { AttestationPolicy, CosignPolicy, NotationPolicy, VerifyPolicy } from '#core/domain/verify-policy.ts';
import { parseRepository } from '#core/domain/reference.ts';
import { policySecrets, trustKey, trustOf, type Trust, type Verification } from '#core/domain/verification.ts';
import { publicGoodRoot } from '#core/oci/verify/trusted-root.ts';
import type { AttestationRequirement, CosignTrust, NotationTrust } from '#core/oci/verify/verdict.ts';
import { verifyArtifact, type TrustMaterial } from '#core/oci/verify/verify.ts';
import { secretVersions } from '#core/store/secrets.ts';
import { getTenant } from '#core/store/tenants.ts';
import { keepSigners, knownSigners } from '#core/store/verifications.ts';
import type { WorkerDeps } from './deps.ts';
import { readSecret } from './secrets.ts';
import { sourceRegistry } from './steps/resolve.ts';
import { within } from './within.ts';

/** What is believed about a digest, without its history of attempts. */
export type Verified = Pick<Verification, 'state' | 'message' | 'signers' | 'trustKey'>;

const PEM = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g;

/** Every PEM block of a kind in a secret's values, named after the secret. */
async function pemsOf(deps: WorkerDeps, tenant: string, secret: string, kind: RegExp) {
  const { data } = await readSecret(deps, tenant, secret);
  const blocks = Object.values(data).flatMap((value) => [...value.matchAll(PEM)]);
  const pems = blocks.filter(([, type = '']) => kind.test(type)).map(([pem]) => ({ name: secret, pem }));
  if (pems.length > 0) return pems;
  const found = blocks.map(([, type]) => type).join(', ') || 'no PEM at all';
  throw stalled(
    'SpecInvalid',
    `secret ${secret} in tenant ${tenant} is to hold a ${kind.source.toLowerCase()} in PEM, it holds ${found}`,
  );
}

async function trustedRoot(
  deps: WorkerDeps,
  tenant: string,
  secret: string | undefined,
  { forceCache = false } = {},
): Promise<unknown> {
  const { PLUMBLINE_SIGSTORE_TRUSTED_ROOT: file, PLUMBLINE_SIGSTORE_TUF: mirrorUrl } = deps.config;
  if (secret === undefined && file === '') {
    const cachePath = join(deps.config.cacheDir, 'sigstore-tuf');
    return mirrorUrl === '' ? undefined : await publicGoodRoot({ cachePath, mirrorUrl, forceCache });
  }
  const where = secret === undefined ? file : `key trusted_root.json of secret ${secret}`;
  const text =
    secret === undefined
      ? await readFile(file, 'utf8').catch(() => undefined)
      : (await readSecret(deps, tenant, secret)).data['trusted_root.json'];
  try {
    return JSON.parse(text ?? '');
  } catch (error) {
    throw stalled('SpecInvalid', `${where} is no trusted root of Sigstore (JSON)`, error);
  }
}

function needsRoot({ identities, requireLog }: CosignPolicy): boolean {
  return (identities ?? []).length > 0 || requireLog === true;
}

/**
 * Under what a verdict is remembered: the key of the policy, and the worker's own root where it counts. A verdict by a log or
 * authority that was taken out of that root is worth nothing.
 */
async function verdictKey(deps: WorkerDeps, tenant: string, policy: VerifyPolicy, key: string): Promise<string> {
  const signers = [policy.cosign, ...(policy.attestations ?? []).map(({ cosign }) => cosign)];
  const usesOwnRoot = signers.some((each) => each !== undefined && needsRoot(each) && each.trustedRoot === undefined);
  if (!usesOwnRoot) return key;
  return digestOf({ key, root: (await trustedRoot(deps, tenant, undefined, { forceCache: true })) ?? null });
}

async function cosignTrust(deps: WorkerDeps, tenant: string, policy: CosignPolicy): Promise<CosignTrust> {
  const keys = await Promise.all((policy.keys ?? []).map((name) => pemsOf(deps, tenant, name, /PUBLIC KEY/)));
  const identities = policy.identities ?? [];
  const requireLog = policy.requireLog ?? false;
  const root = needsRoot(policy) ? await trustedRoot(deps, tenant, policy.trustedRoot) : undefined;
  if (root === undefined && needsRoot(policy)) {
    throw stalled(
      'SpecInvalid',
      'identities need a root of trust: name a secret with trusted_root.json in verify.cosign.trustedRoot, or set PLUMBLINE_SIGSTORE_TRUSTED_ROOT or PLUMBLINE_SIGSTORE_TUF of the worker',
    );
  }
  return { keys: keys.flat(), identities, trustedRoot: root, requireLog };
}

async function notationTrust(deps: WorkerDeps, tenant: string, policy: NotationPolicy): Promise<NotationTrust> {
  const stores = await Promise.all(policy.trustStores.map((name) => pemsOf(deps, tenant, name, /CERTIFICATE/)));
  return { level: policy.level ?? 'strict', stores: stores.flat(), identities: policy.trustedIdentities };
}

async function requirement(
  deps: WorkerDeps,
  tenant: string,
  { cosign, ...wanted }: AttestationPolicy,
  whole: VerifyPolicy,
): Promise<AttestationRequirement> {
  const signers = cosign ?? whole.cosign;
  if (signers === undefined) throw stalled('SpecInvalid', `attestation ${wanted.type}: nobody is named to sign it`);
  return { ...wanted, signedBy: await cosignTrust(deps, tenant, signers) };
}

/** Reads the keys, roots and certificates a policy names. */
async function materialOf(deps: WorkerDeps, tenant: string, policy: VerifyPolicy): Promise<TrustMaterial> {
  const { cosign, notation, attestations = [] } = policy;
  return {
    ...(cosign === undefined ? {} : { cosign: await cosignTrust(deps, tenant, cosign) }),
    ...(notation === undefined ? {} : { notation: await notationTrust(deps, tenant, notation) }),
    attestations: await Promise.all(attestations.map((each) => requirement(deps, tenant, each, policy))),
  };
}

/** What a stack's artifacts must meet today, and the key of it. */
export async function currentTrust(
  db: WorkerDeps['db'],
  tenant: string,
  spec: StackSpec,
): Promise<{ trust: Trust; key: string }> {
  const row = await getTenant(db, tenant);
  if (row === undefined) throw stalled('SpecInvalid', `tenant ${tenant} does not exist any more`);
  const trust = trustOf(spec, row.spec);
  const names = trust.type === 'policy' ? policySecrets(trust.policy) : [];
  return { trust, key: trustKey(trust, await secretVersions(db, tenant, names)) };
}

const UNSET =
  'signatures are required and nobody is named whose would count: set spec.source.verify of the stack or spec.verify of its tenant, or make the exception spec.source.verify.unsigned with a reason';

/** A digest, the spec it is fetched by and the spec whose policy counts (another one where a run is of an earlier spec). */
export interface Suspect {
  tenant: string;
  digest: string;
  spec: StackSpec;
  policyOf: StackSpec;
}

/** Everything attached, one after the other: a registry that answers a byte at a time must not keep a worker for days. */
const CHECK_MS = 300_000;

/**
 * Holds a digest against today's policy; a verdict that held is remembered by digest and policy. Takes 5 min at most.
 * @throws ReconcileError of the registry; transient SourceUnreachable when it is too slow
 */
export async function checkSignatures(
  deps: WorkerDeps,
  suspect: Suspect,
  signal: AbortSignal,
  limitMs = CHECK_MS,
): Promise<Verified> {
  const { host, name } = parseRepository(suspect.spec.source.repository);
  const tooSlow = `${host}/${name}@${suspect.digest}: what is attached could not be read within ${limitMs / 1000} s; see whether the registry is slow, or much is attached`;
  return await within(limitMs, signal, tooSlow, (limited) => check(deps, suspect, limited));
}

async function check(deps: WorkerDeps, suspect: Suspect, signal: AbortSignal): Promise<Verified> {
  const { tenant, spec, digest } = suspect;
  const { trust, key } = await currentTrust(deps.db, tenant, suspect.policyOf);
  const none = { trustKey: key, signers: [] };
  if (trust.type === 'unset') return { ...none, state: 'unset', message: UNSET };
  if (trust.type === 'unsigned') return { ...none, state: 'unsigned', message: `${trust.reason} (${trust.from})` };
  const rememberedAs = { tenant, digest, trustKey: await verdictKey(deps, tenant, trust.policy, key) };
  const known = await knownSigners(deps.db, rememberedAs);
  if (known !== undefined) return { trustKey: key, signers: known, state: 'verified', message: 'verified before' };
  const material = await materialOf(deps, tenant, trust.policy);
  const repository = parseRepository(spec.source.repository);
  const source = await sourceRegistry(deps, { tenant, spec }, signal);
  const verdict = await verifyArtifact({ source, repository, digest, now: new Date(), signal }, material, spec.source);
  if (verdict.type !== 'verified') return { ...none, state: verdict.type, message: verdict.message };
  await keepSigners(deps.db, rememberedAs, verdict.signers);
  return { trustKey: key, signers: verdict.signers, state: 'verified', message: 'verified now' };
}
