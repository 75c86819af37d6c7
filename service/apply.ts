import type { Transaction } from 'kysely';
import { actorOf, holds, reaches, type Principal } from '#core/domain/authorize.ts';
import { unreachable } from '#core/domain/errors.ts';
import type {
  ExternalSecret,
  Kind,
  Manifest,
  PulumiSettings,
  ReceiverManifest,
  SecretManifest,
  StackManifest,
  TenantManifest,
  TokenManifest,
} from '#core/domain/manifest.ts';
import { canonicalJson } from '#core/domain/plan.ts';
import { parseRepository } from '#core/domain/reference.ts';
import type { AppliedView } from '#core/domain/view.ts';
import { newTenantKey } from '#core/secrets.ts';
import { backendTakenByAnother } from '#core/store/backends.ts';
import { upsertReceiver } from '#core/store/receivers.ts';
import type { Schema } from '#core/store/schema.ts';
import { putSecret } from '#core/store/secrets.ts';
import { applyStack } from '#core/store/stacks.ts';
import { createTenant, getTenant } from '#core/store/tenants.ts';
import { listTokens } from '#core/store/tokens.ts';
import { bindingErrors } from './binding-rules.ts';
import type { RouteDeps } from './deps.ts';
import { invalid, notFound, Problem } from './problem.ts';
import { secretErrors } from './external-secrets.ts';
import { sealSecret, storedSecret } from './secrets.ts';
import { secretUses, specErrors, type SecretUse, type SpecError } from './spec-rules.ts';
import { policyPackErrors } from './policy-rules.ts';
import { verifyErrors } from './verify-rules.ts';
import { issueToken } from './tokens.ts';
import { hookPath } from './views.ts';

/** Tenant of a manifest that names none, applied with a token bound to none. */
export const DEFAULT_TENANT = 'default';

/** What others name comes before those that name it. */
const ORDER: Record<Kind, number> = { Tenant: 0, Secret: 1, Receiver: 2, Stack: 3, Token: 4 };

function rank(manifest: Manifest): number {
  // The Secret that opens a store comes before those that are read with it.
  const isExternal = manifest.kind === 'Secret' && manifest.spec.external !== undefined;
  return ORDER[manifest.kind] + (isExternal ? 0.5 : 0);
}

interface Applying {
  deps: RouteDeps;
  trx: Transaction<Schema>;
  principal: Principal;
  by: string;
  /** Stacks to ring for after the commit. */
  touched: Map<string, { tenant: string; stackId: string }>;
}

/** Thrown to take back what a dry run did. */
class DryRun extends Error {}

async function applyTenant({ deps, trx, principal }: Applying, { metadata, spec }: TenantManifest) {
  if (!holds(principal, 'installation')) {
    throw new Problem(
      'forbidden',
      `tenant ${metadata.name}: only an administrator bound to no tenant makes or changes tenants`,
    );
  }
  refuse(`tenant ${metadata.name}`, verifyErrors('spec/verify', spec.verify));
  refuse(`tenant ${metadata.name}`, policyPackErrors('spec/policyPacks', spec.policyPacks, true));
  const hmacKeySealed = newTenantKey(deps.masterKey, metadata.name);
  return (await createTenant(trx, { name: metadata.name, spec, hmacKeySealed })).outcome;
}

async function applySecret(at: Applying, tenant: string, { metadata: { name }, spec }: SecretManifest) {
  const { data = {}, external } = spec;
  for (const value of Object.values(data)) at.deps.scrubber.register(value);
  refuse(`secret ${name}`, [...secretErrors(spec), ...(await credentialErrors(at, tenant, external))]);
  const before = await storedSecret({ ...at.deps, db: at.trx }, tenant, name);
  const now = { data, external: external ?? null };
  if (before !== undefined && canonicalJson(before) === canonicalJson(now)) return 'unchanged';
  const sealed = sealSecret(at.deps.masterKey, tenant, name, data);
  const { stackIds } = await putSecret(at.trx, { tenant, name, sealed, external, by: at.by });
  for (const stackId of stackIds) at.touched.set(stackId, { tenant, stackId });
  return before === undefined ? 'created' : 'changed';
}

/** What opens a store is kept here: a store behind a store would have no end. */
async function credentialErrors(at: Applying, tenant: string, external: ExternalSecret | undefined) {
  const secret = external?.credentials;
  if (secret === undefined) return [];
  const path = 'spec/external/credentials';
  return await missingSecrets(at, tenant, [{ path, secret, key: undefined, here: 'reads a store' }]);
}

/** Named by a spec; `here` says what needs its values in our own database. */
type WantedSecret = SecretUse & { here?: string };

/** Which of the uses name a secret, or a key in it, that does not exist. The keys of a store are known to the worker alone. */
async function missingSecrets(at: Applying, tenant: string, uses: WantedSecret[]): Promise<SpecError[]> {
  const errors: SpecError[] = [];
  for (const { path, secret, key, here } of uses) {
    const stored = await storedSecret({ ...at.deps, db: at.trx }, tenant, secret);
    const known = stored?.external === null ? stored.data : stored?.external?.keys;
    const first = 'apply it first or in the same request';
    if (stored === undefined)
      errors.push({ path, message: `secret ${secret} does not exist in tenant ${tenant}; ${first}` });
    else if (here !== undefined && stored.external !== null)
      errors.push({
        path,
        message: `secret ${secret} is external, and what ${here} must be kept here: give it in data`,
      });
    else if (key !== undefined && known !== undefined && !Object.hasOwn(known, key))
      errors.push({ path, message: `secret ${secret} has no key ${key} in tenant ${tenant}; ${first}` });
  }
  return errors;
}

function refuse(what: string, errors: SpecError[]): void {
  const [first] = errors;
  if (first === undefined) return;
  throw invalid(`${what}: ${first.path}: ${first.message}`, errors);
}

async function applyReceiver(at: Applying, tenant: string, { metadata: { name }, spec }: ReceiverManifest) {
  const uses = [{ path: 'spec/secret', ...spec.secret, here: 'the service reads' }];
  refuse(`receiver ${name}`, await missingSecrets(at, tenant, uses));
  const { secret, key: secretKey } = spec.secret;
  const wanted = { tenant, name, type: spec.type, secret, secretKey, suspended: spec.suspend ?? false, by: at.by };
  const { receiver, outcome } = await upsertReceiver(at.trx, wanted);
  return { action: outcome, hook: hookPath(receiver.path) };
}

/** Tenants share no backend; the worker looks again, for two may come at once. */
async function takenBackend(at: Applying, tenant: string, { backend, organization = '' }: PulumiSettings) {
  if (backend === undefined) return [];
  const taken = await backendTakenByAnother(at.trx, { tenant, use: { backend, organization } });
  return taken
    ? [{ path: 'spec/pulumi/backend', message: 'another tenant has this backend, or one above or below it' }]
    : [];
}

async function applyOneStack(at: Applying, tenant: string, { metadata, spec }: StackManifest) {
  const { name, labels = {} } = metadata;
  refuse(`stack ${name}`, [
    ...specErrors(spec, { mintsTokens: at.deps.identityIssuer !== undefined }),
    ...(await missingSecrets(at, tenant, secretUses(spec))),
  ]);
  refuse(`stack ${name}`, bindingErrors(spec, (await getTenant(at.trx, tenant))?.spec));
  refuse(`stack ${name}`, await takenBackend(at, tenant, spec.pulumi));
  const { host, name: path } = parseRepository(spec.source.repository);
  const wanted = { tenant, name, labels, spec, repository: `${host}/${path}`, by: at.by };
  const { stack, outcome } = await applyStack(at.trx, wanted);
  if (outcome !== 'unchanged') at.touched.set(stack.id, { tenant, stackId: stack.id });
  return outcome;
}

/** A token that exists stays: its text cannot be shown again, so a change of role is a new token. */
async function applyToken(at: Applying, tenant: string, { metadata: { name }, spec }: TokenManifest) {
  const existing = (await listTokens(at.trx, tenant)).find((token) => token.name === name);
  if (existing === undefined) {
    const { token } = await issueToken(at.trx, { tenant, name, spec, by: at.by });
    return { action: 'created' as const, token };
  }
  if (existing.role === spec.role) return { action: 'unchanged' as const };
  throw new Problem(
    'conflict',
    `token ${name} has the role ${existing.role}; delete it to make one with the role ${spec.role}`,
  );
}

async function tenantOf(at: Applying, manifest: Exclude<Manifest, TenantManifest>): Promise<string> {
  const tenant = manifest.metadata.tenant ?? at.principal.tenant ?? DEFAULT_TENANT;
  const isKnown = reaches(at.principal, tenant) && (await getTenant(at.trx, tenant)) !== undefined;
  if (isKnown) return tenant;
  throw notFound(`tenant ${tenant} of ${manifest.kind} ${manifest.metadata.name}`);
}

async function applyOne(at: Applying, manifest: Manifest): Promise<AppliedView> {
  const { kind, metadata } = manifest;
  if (kind === 'Tenant') return { kind, tenant: null, name: metadata.name, action: await applyTenant(at, manifest) };
  const tenant = await tenantOf(at, manifest);
  const shown = { kind, tenant, name: metadata.name };
  switch (kind) {
    case 'Secret':
      return { ...shown, action: await applySecret(at, tenant, manifest) };
    case 'Receiver':
      return { ...shown, ...(await applyReceiver(at, tenant, manifest)) };
    case 'Stack':
      return { ...shown, action: await applyOneStack(at, tenant, manifest) };
    case 'Token':
      return { ...shown, ...(await applyToken(at, tenant, manifest)) };
    default:
      return unreachable(kind);
  }
}

/** What an apply came to, in the order the manifests were given. */
export interface Applied {
  results: AppliedView[];
  /** Stacks to ring for. */
  touched: { tenant: string; stackId: string }[];
}

/**
 * Applies manifests, all or none. Applied again they change nothing, so a request may be repeated. A dry run does the
 * same and takes it back, so that it finds exactly what an apply would.
 * @throws Problem, Conflict
 */
export async function applyManifests(
  deps: RouteDeps,
  principal: Principal,
  manifests: readonly Manifest[],
  dryRun: boolean,
): Promise<Applied> {
  const results: AppliedView[] = [];
  const touched: Applying['touched'] = new Map();
  const ordered = [...manifests.entries()].sort(([, a], [, b]) => rank(a) - rank(b));
  try {
    await deps.db.transaction().execute(async (trx) => {
      const at = { deps, trx, principal, by: actorOf(principal), touched };
      for (const [index, manifest] of ordered) results[index] = await applyOne(at, manifest);
      if (dryRun) throw new DryRun();
    });
  } catch (error) {
    if (!(error instanceof DryRun)) throw error;
    // A token or a path that was taken back opens nothing: it is not shown.
    const shown = results.map(({ kind, tenant, name, action }) => ({ kind, tenant, name, action }));
    return { results: shown, touched: [] };
  }
  return { results, touched: [...touched.values()] };
}
