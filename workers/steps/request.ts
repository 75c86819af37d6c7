import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseDuration } from '#core/domain/duration.ts';
import { stalled } from '#core/domain/errors.ts';
import { DEFAULTS, type StackSpec } from '#core/domain/manifest.ts';
import { canonicalJson, type StateIdentity } from '#core/domain/plan.ts';
import { checkEnvironmentNames } from '#core/engine/environment.ts';
import type { ConfigValue, EngineRequest } from '#core/engine/port.ts';
import { newEncryptionSalt } from '#core/engine/settings.ts';
import { hmacValue, newPassphrase, open, seal } from '#core/secrets.ts';
import type { RunRow } from '#core/store/runs.ts';
import { patchStack, type StackRow } from '#core/store/stacks.ts';
import { tenantHmacKey } from '#core/store/tenants.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { readSecret, readSecretKey } from '../secrets.ts';
import type { Workspace } from './workspace.ts';

/** Whose credentials a run gets: `plan` runs unapproved code, `apply` runs what a person or the policy let through. */
export type Phase = 'plan' | 'apply';

/** What of a request enters the bound document; values that could be secret are HMACs. */
export interface Inputs {
  request: EngineRequest;
  settings: string;
  config: Record<string, string>;
  environment: Record<string, string>;
  credentials: Record<string, string>;
  /** The same secret serves plan and apply, which every approval must show. */
  sharedCredentials: boolean;
}

/** The state address a spec asks for. Tenants never share a prefix (rule 10). */
export function wantedIdentity(deps: WorkerDeps, tenant: string, spec: StackSpec, project: string): StateIdentity {
  const own = `file://${join(deps.config.dataDir, 'state', tenant)}`;
  const shared = deps.config.PULUMI_BACKEND_URL;
  const fallback = shared === '' ? own : `${shared.replace(/\/$/, '')}/${tenant}`;
  const backend = spec.pulumi.backend ?? fallback;
  if (spec.pulumi.backend?.startsWith('file:') === true && !backend.startsWith(`${own}/`) && backend !== own) {
    throw stalled(
      'SpecInvalid',
      `spec.pulumi.backend: a file backend must lie inside ${own}, so that tenants do not meet`,
    );
  }
  return { backend, organization: 'organization', project, stack: spec.pulumi.stack };
}

interface StackKeys {
  passphrase: string;
  encryptionSalt: string;
}

/** The passphrase and salt of the stack's secrets; made once, sealed in our database, never changed by a run. */
async function stackKeys(deps: WorkerDeps, stack: StackRow): Promise<StackKeys> {
  const context = `passphrase/${stack.tenant}/${stack.id}`;
  const { encryptionSalt } = stack.settings;
  if (stack.passphrase !== null && encryptionSalt !== undefined) {
    const passphrase = open(deps.masterKey, stack.passphrase, context).toString('utf8');
    deps.scrubber.register(passphrase);
    return { passphrase, encryptionSalt };
  }
  const passphrase = newPassphrase();
  deps.scrubber.register(passphrase);
  const settings = { encryptionSalt: await newEncryptionSalt(passphrase) };
  await patchStack(deps.db, stack.id, {
    passphrase: seal(deps.masterKey, Buffer.from(passphrase), context),
    settings: JSON.stringify(settings),
  });
  return { passphrase, encryptionSalt: settings.encryptionSalt };
}

async function configOf(deps: WorkerDeps, tenant: string, spec: StackSpec) {
  const config: Record<string, ConfigValue> = {};
  for (const [key, value] of Object.entries(spec.pulumi.config ?? {})) config[key] = { value, secret: false };
  for (const [key, ref] of Object.entries(spec.pulumi.secrets ?? {})) {
    config[key] = { value: (await readSecretKey(deps, tenant, ref)).value, secret: true };
  }
  return config;
}

/** Gathers everything one engine operation of a run needs, and what of it an approval is bound to. */
export async function gatherInputs(
  deps: WorkerDeps,
  lease: HeldLease,
  at: { stack: StackRow; run: RunRow; workspace: Workspace; phase: Phase; onOutput: (text: string) => void },
): Promise<Inputs> {
  const { stack, run, workspace, phase } = at;
  const { spec } = run;
  const key = await tenantHmacKey(deps.db, deps.masterKey, stack.tenant);
  const keys = await stackKeys(deps, stack);
  const config = await configOf(deps, stack.tenant, spec);
  const names = { plan: spec.credentials?.plan, apply: spec.credentials?.apply };
  const own = names[phase] === undefined ? undefined : await readSecret(deps, stack.tenant, names[phase]);
  const other =
    names.plan === names.apply
      ? own
      : await secretVersion(deps, stack.tenant, phase === 'plan' ? names.apply : names.plan);
  const environment = { ...spec.pulumi.environment, ...own?.data };
  checkEnvironmentNames(environment);
  const identity = wantedIdentity(deps, stack.tenant, spec, workspace.project);
  if (identity.backend.startsWith('file://'))
    await mkdir(fileURLToPath(identity.backend), { recursive: true, mode: 0o700 });
  const timeout =
    phase === 'plan' ? (spec.timeouts?.plan ?? DEFAULTS.planTimeout) : (spec.timeouts?.apply ?? DEFAULTS.applyTimeout);
  const versions = { [phase]: own?.version, [phase === 'plan' ? 'apply' : 'plan']: other?.version };
  return {
    request: {
      tenant: stack.tenant,
      runId: run.id,
      runDir: workspace.runDir,
      programDir: workspace.programDir,
      readOnlyDirs: workspace.readOnlyDirs,
      identity,
      settings: { encryptionSalt: keys.encryptionSalt },
      passphrase: keys.passphrase,
      config,
      environment,
      targets: run.targets,
      timeoutMs: parseDuration(timeout),
      signal: lease.signal,
      guard: lease.guard(run.id),
      onOutput: at.onOutput,
    },
    settings: keys.encryptionSalt,
    config: mapValues(config, (item) => (item.secret ? hmacValue(key, String(item.value)) : canonicalJson(item.value))),
    environment: mapValues(spec.pulumi.environment ?? {}, (value) => hmacValue(key, value)),
    credentials: {
      plan: names.plan === undefined ? 'none' : `${names.plan}@${versions['plan']}`,
      apply: names.apply === undefined ? 'none' : `${names.apply}@${versions['apply']}`,
    },
    sharedCredentials: names.plan === names.apply && names.plan !== undefined,
  };
}

async function secretVersion(deps: WorkerDeps, tenant: string, name: string | undefined) {
  return name === undefined ? undefined : { version: (await readSecret(deps, tenant, name)).version };
}

function mapValues<T>(record: Record<string, T>, map: (value: T) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
