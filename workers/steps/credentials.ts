import { describeSource, PHASES, secretOf, sharesIdentity, type Phase } from '#core/domain/credential.ts';
import type { WorkerDeps } from '../deps.ts';
import { readSecret, type OpenedSecret } from '../secrets.ts';
import { runIdentity, type IdentityScene, type RunIdentity } from './run-identity.ts';

/** The identity of one operation, and what of both an approval holds. */
export interface RunCredentials extends RunIdentity {
  /** Identity to what it is made from, with the version. */
  bound: Record<Phase, string>;
  /** Who each identity is for its cloud, where that can be known. */
  principals: Record<string, string>;
  /** One program may become what the other is, which every approval must show. */
  shared: boolean;
}

type Secrets = Partial<Record<Phase, OpenedSecret>>;

async function readSecrets(deps: WorkerDeps, { run, stack }: IdentityScene): Promise<Secrets> {
  const names = { plan: secretOf(run.spec.credentials?.plan), apply: secretOf(run.spec.credentials?.apply) };
  const read = async (name: string | undefined) =>
    name === undefined ? undefined : await readSecret(deps, stack.tenant, name);
  const plan = await read(names.plan);
  const apply = names.apply === names.plan ? plan : await read(names.apply);
  return { ...(plan && { plan }), ...(apply && { apply }) };
}

/**
 * Who the identities are. A cloud that does not answer fails a plan as it fails an apply: a person who approves is shown the
 * account it is for, and the apply is held to it.
 */
async function principalsOf(deps: WorkerDeps, scene: IdentityScene, secrets: Secrets): Promise<Record<string, string>> {
  const { spec } = scene.run;
  const found = await Promise.all(
    PHASES.map(async (phase) => {
      const source = spec.credentials?.[phase];
      if (source === undefined) return [];
      const parts = { source, data: secrets[phase]?.data ?? {}, environment: spec.pulumi.environment ?? {} };
      const what = `the identity ${phase} (secret ${secretOf(source)})`;
      const principal = await deps.runClouds.principal(parts, { what, signal: scene.lease.signal });
      return principal === undefined ? [] : [[phase, principal] as const];
    }),
  );
  return Object.fromEntries(found.flat());
}

/**
 * The identity of the scene's phase, and what of both an approval is bound to: a rotation of either is a difference (design,
 * rule 9).
 * @throws stalled(SecretNotFound); IdentityFailed, stalled where a person has to set something up
 */
export async function runCredentials(deps: WorkerDeps, scene: IdentityScene): Promise<RunCredentials> {
  const { credentials = {} } = scene.run.spec;
  const secrets = await readSecrets(deps, scene);
  const principals = await principalsOf(deps, scene, secrets);
  const source = credentials[scene.phase];
  return {
    ...(await runIdentity(deps, scene, source, secrets[scene.phase]?.data ?? {})),
    bound: {
      plan: describeSource(credentials.plan, secrets.plan?.version),
      apply: describeSource(credentials.apply, secrets.apply?.version),
    },
    principals,
    shared: sharesIdentity(credentials),
  };
}
