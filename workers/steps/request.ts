import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Phase } from '#core/domain/credential.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import { canonicalJson } from '#core/domain/plan.ts';
import { checkEnvironmentNames } from '#core/engine/environment.ts';
import type { ConfigValue, EngineRequest } from '#core/engine/port.ts';
import { hmacValue } from '#core/secrets.ts';
import { installationMark } from '#core/store/installation.ts';
import { finishedRunIds, type RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import { tenantHmacKey } from '#core/store/tenants.ts';
import type { WorkerDeps } from '../deps.ts';
import { confineRun } from '../isolation.ts';
import type { HeldLease } from '../lease.ts';
import { readingOnce, readSecretKey } from '../secrets.ts';
import { runCredentials } from './credentials.ts';
import { operationMs } from './run-identity.ts';
import { stackSecrets } from './stack-secrets.ts';
import { requireOwnBackend, wantedIdentity } from './state-identity.ts';
import type { Workspace } from './workspace.ts';

/** What of a request enters the bound document; values that could be secret are HMACs. */
export interface Inputs {
  request: EngineRequest;
  settings: string;
  config: Record<string, string>;
  environment: Record<string, string>;
  credentials: Record<string, string>;
  /** Who each identity is for its cloud, where that can be known. */
  principals: Record<string, string>;
  /** The same secret serves plan and apply, which every approval must show. */
  sharedCredentials: boolean;
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
  given: WorkerDeps,
  lease: HeldLease,
  at: { stack: StackRow; run: RunRow; workspace: Workspace; phase: Phase; onOutput: (text: string) => void },
): Promise<Inputs> {
  const deps = readingOnce(given);
  const { stack, run, workspace, phase } = at;
  const { spec } = run;
  const key = await tenantHmacKey(deps.db, deps.masterKey, stack.tenant);
  const config = await configOf(deps, stack.tenant, spec);
  const credentials = await runCredentials(deps, { lease, stack, run, workspace, phase });
  for (const note of credentials.notes) at.onOutput(`${note}\n`);
  const environment = { ...spec.pulumi.environment, ...credentials.environment };
  const identity = wantedIdentity(deps, stack.tenant, spec, workspace.project);
  await requireOwnBackend(deps, stack, identity);
  checkEnvironmentNames(environment, identity.backend);
  if (identity.backend.startsWith('file://'))
    await mkdir(fileURLToPath(identity.backend), { recursive: true, mode: 0o700 });
  const mark = await installationMark(deps.db);
  const request: EngineRequest = {
    tenant: stack.tenant,
    runId: `${mark}-${run.id}`,
    runDir: workspace.runDir,
    programDir: workspace.programDir,
    readOnlyDirs: [...workspace.readOnlyDirs, ...credentials.readOnlyDirs],
    identity,
    // Until it is known what encrypts the state.
    settings: { encryptionSalt: '' },
    passphrase: '',
    config,
    environment,
    targets: run.targets,
    deadRunIds: (await finishedRunIds(deps.db, stack.id)).filter((id) => id !== run.id).map((id) => `${mark}-${id}`),
    ...(await confineRun(deps, run, identity.backend)),
    timeoutMs: operationMs(spec, phase),
    signal: lease.signal,
    guard: lease.guard(run.id),
    onOutput: at.onOutput,
  };
  const { environments = [] } = spec.pulumi;
  const secrets = await stackSecrets({ deps, lease, stack, spec, request, key });
  return {
    request: { ...request, settings: { ...secrets.settings, environments }, passphrase: secrets.passphrase },
    settings: environments.length === 0 ? secrets.bound : `${secrets.bound} environments ${environments.join(', ')}`,
    config: mapValues(config, (item) => (item.secret ? hmacValue(key, String(item.value)) : canonicalJson(item.value))),
    environment: mapValues(spec.pulumi.environment ?? {}, (value) => hmacValue(key, value)),
    credentials: credentials.bound,
    principals: credentials.principals,
    sharedCredentials: credentials.shared,
  };
}

function mapValues<T>(record: Record<string, T>, map: (value: T) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
