import { secretOf } from '#core/domain/credential.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { WorkerDeps } from '../deps.ts';
import { readSecret } from '../secrets.ts';

/** Whose credentials a run gets: `plan` runs unapproved code, `apply` runs what a person or the policy let through. */
export type Phase = 'plan' | 'apply';

/** The identity of one operation. */
export interface RunCredentials {
  /** Variables for the engine and the program. */
  environment: Record<string, string>;
  /** What an approval is bound to: identity to what it is made from, with the version. */
  bound: Record<Phase, string>;
  /** Who each identity is for its cloud, where that can be known. */
  principals: Record<string, string>;
  /** The same secret serves plan and apply, which every approval must show. */
  shared: boolean;
}

/**
 * The variables of the phase's identity, and what of both identities an approval is bound to: a rotation of either is a
 * difference (design, rule 9).
 * @throws stalled(SecretNotFound)
 */
export async function runCredentials(
  deps: WorkerDeps,
  at: { tenant: string; spec: StackSpec; phase: Phase },
): Promise<RunCredentials> {
  const { tenant, spec, phase } = at;
  const names = { plan: secretOf(spec.credentials?.plan), apply: secretOf(spec.credentials?.apply) };
  const read = async (name: string | undefined) =>
    name === undefined ? undefined : await readSecret(deps, tenant, name);
  const plan = await read(names.plan);
  const apply = names.apply === names.plan ? plan : await read(names.apply);
  const own = phase === 'plan' ? plan : apply;
  return {
    environment: own?.data ?? {},
    bound: {
      plan: names.plan === undefined ? 'none' : `${names.plan}@${plan?.version}`,
      apply: names.apply === undefined ? 'none' : `${names.apply}@${apply?.version}`,
    },
    principals: {},
    shared: names.plan === names.apply && names.plan !== undefined,
  };
}
