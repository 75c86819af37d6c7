import type { PolicyPackRef } from '#core/domain/manifest.ts';
import { parseReference } from '#core/domain/reference.ts';
import { policySecrets } from '#core/domain/verification.ts';
import type { SecretUse, SpecError } from './spec-rules.ts';
import { refusals, verifyErrors } from './verify-rules.ts';

/** Levels as Pulumi writes them. */
const LEVELS: ReadonlySet<unknown> = new Set(['advisory', 'mandatory', 'remediate', 'disabled']);

function levelOf(setting: unknown): unknown {
  if (typeof setting !== 'object' || setting === null) return setting;
  return 'enforcementLevel' in setting ? setting.enforcementLevel : 'mandatory';
}

function configErrors(path: string, config: Record<string, unknown>): SpecError[] {
  return Object.entries(config)
    .filter(([, setting]) => !LEVELS.has(levelOf(setting)))
    .map(([policy]) => ({
      path: `${path}/config/${policy}`,
      message: 'must be advisory, mandatory, remediate or disabled, or an object with enforcementLevel and settings',
    }));
}

function refErrors(path: string, ref: PolicyPackRef, ociOnly: boolean): SpecError[] {
  const { path: folder, oci, credentials, verify, config = {} } = ref;
  const errors = configErrors(path, config);
  if (ociOnly && oci === undefined)
    return [...errors, { path, message: 'a tenant requires packs from a registry: set oci' }];
  if ((folder === undefined) === (oci === undefined))
    return [...errors, { path, message: 'exactly one of path and oci is set' }];
  if (oci !== undefined)
    return [
      ...errors,
      ...refusals(`${path}/oci`, () => parseReference(oci)),
      ...verifyErrors(`${path}/verify`, verify),
    ];
  if (credentials !== undefined || verify !== undefined)
    errors.push({ path, message: 'credentials and verify belong to oci; a folder is verified with its artifact' });
  if (folder?.startsWith('/') || folder?.includes('\\') || folder?.split('/').includes('..'))
    errors.push({ path: `${path}/path`, message: `${folder} leads out of the artifact` });
  return errors;
}

/** What a schema cannot say about policy packs. @param ociOnly a tenant has no artifact to bundle them in */
export function policyPackErrors(path: string, refs: readonly PolicyPackRef[] = [], ociOnly = false): SpecError[] {
  return refs.flatMap((ref, index) => refErrors(`${path}/${index}`, ref, ociOnly));
}

/** Every secret that packs name. */
export function policyPackSecrets(path: string, refs: readonly PolicyPackRef[] = []): SecretUse[] {
  return refs.flatMap(({ credentials, verify }, index) =>
    [...(credentials === undefined ? [] : [credentials]), ...policySecrets(verify)].map((secret) => ({
      path: `${path}/${index}`,
      secret,
      key: undefined,
    })),
  );
}
