import { join } from 'node:path';
import { loginOf, roleOf, secretOf, sessionName, type Phase } from '#core/domain/credential.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { stalled } from '#core/domain/errors.ts';
import { DEFAULTS, type CredentialSource, type StackSpec } from '#core/domain/manifest.ts';
import { awsKeysOf, awsRegionOf } from '#core/identity/aws-sts.ts';
import { loginVariables } from '#core/identity/login-variables.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { keepToken, replaceFile } from './token-file.ts';
import type { Workspace } from './workspace.ts';

/** A session outlives its operation by this much: the engine still has to end. */
const MARGIN_MS = 5 * 60_000;

/** What an operation of a run is given. */
export interface RunIdentity {
  environment: Record<string, string>;
  /** Folders with files that the variables name. */
  readOnlyDirs: string[];
  /** What a person should read in the log of the run. */
  notes: string[];
}

/** The run an identity is for. */
export interface IdentityScene {
  lease: HeldLease;
  stack: StackRow;
  run: RunRow;
  workspace: Workspace;
  phase: Phase;
}

/** Milliseconds an operation of the phase may take. */
export function operationMs(spec: StackSpec, phase: Phase): number {
  const { timeouts } = spec;
  if (phase === 'plan') return parseDuration(timeouts?.plan ?? DEFAULTS.planTimeout);
  return parseDuration(timeouts?.apply ?? DEFAULTS.applyTimeout);
}

function sessionOf({ stack, run, phase }: IdentityScene): string {
  return sessionName({ tenant: stack.tenant, stack: stack.name, run: run.number, phase });
}

/** The worker becomes the role and hands over its session; the keys of the secret stay here. */
async function assume(
  deps: WorkerDeps,
  scene: IdentityScene,
  source: CredentialSource,
  data: Record<string, string>,
): Promise<RunIdentity> {
  const wish = roleOf(source);
  const keys = awsKeysOf(data);
  const name = secretOf(source);
  if (wish === undefined || keys === undefined)
    throw stalled(
      'IdentityFailed',
      `secret ${name} holds no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to assume ${wish?.role} with; apply it with both`,
    );
  const { spec } = scene.run;
  const region = wish.region ?? awsRegionOf({ ...spec.pulumi.environment, ...data });
  const role = await deps.runClouds.assumeRole(
    keys,
    region,
    {
      role: wish.role,
      externalId: wish.externalId,
      sessionName: sessionOf(scene),
      lifeMs: wish.session === undefined ? operationMs(spec, scene.phase) + MARGIN_MS : parseDuration(wish.session),
      strict: wish.session !== undefined,
      what: `secret ${name}`,
    },
    scene.lease.signal,
  );
  deps.scrubber.register(role.keys.secretAccessKey);
  deps.scrubber.register(role.keys.sessionToken ?? '');
  const environment = {
    AWS_ACCESS_KEY_ID: role.keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: role.keys.secretAccessKey,
    AWS_SESSION_TOKEN: role.keys.sessionToken ?? '',
    ...(region !== undefined && { AWS_REGION: region }),
  };
  return { environment, readOnlyDirs: [], notes: role.note === undefined ? [] : [role.note] };
}

/** The service mints a token, and the SDK of the cloud exchanges it inside the run. */
async function logIn(
  deps: WorkerDeps,
  scene: IdentityScene,
  login: NonNullable<ReturnType<typeof loginOf>>,
  data: Record<string, string>,
): Promise<RunIdentity> {
  const { workspace, lease, run, phase } = scene;
  const tokenFile = await keepToken(deps, { lease, runId: run.id, phase, workspace });
  const googleFile = join(workspace.identityDir, 'google.json');
  const { environment, google } = loginVariables(login, { tokenFile, googleFile, sessionName: sessionOf(scene) });
  if (google !== undefined) await replaceFile(googleFile, google);
  return { environment: { ...data, ...environment }, readOnlyDirs: [workspace.identityDir], notes: [] };
}

async function obtain(
  deps: WorkerDeps,
  scene: IdentityScene,
  source: CredentialSource,
  data: Record<string, string>,
): Promise<RunIdentity> {
  const login = loginOf(source);
  if (login !== undefined) return await logIn(deps, scene, login, data);
  if (roleOf(source) !== undefined) return await assume(deps, scene, source, data);
  return { environment: data, readOnlyDirs: [], notes: [] };
}

const obtained = new WeakMap<Workspace, Map<Phase, Promise<RunIdentity>>>();

/**
 * What the operations of a phase get in this workspace. It is obtained once: what is asked again to compare it with the
 * approval must not log in again.
 * @param data what the identity's secret holds; empty without one
 * @throws ReconcileError IdentityFailed; or the reason of the lease's signal
 */
export async function runIdentity(
  deps: WorkerDeps,
  scene: IdentityScene,
  source: CredentialSource | undefined,
  data: Record<string, string>,
): Promise<RunIdentity> {
  if (source === undefined) return { environment: {}, readOnlyDirs: [], notes: [] };
  const phases = obtained.get(scene.workspace) ?? new Map<Phase, Promise<RunIdentity>>();
  obtained.set(scene.workspace, phases);
  const known = phases.get(scene.phase);
  if (known !== undefined) return await known;
  const identity = obtain(deps, scene, source, data);
  phases.set(scene.phase, identity);
  identity.catch(() => phases.delete(scene.phase));
  return await identity;
}
