import { stalled } from '#core/domain/errors.ts';
import { open } from '#core/secrets.ts';
import { getSecret } from '#core/store/secrets.ts';
import type { WorkerDeps } from './deps.ts';

export interface OpenedSecret {
  version: number;
  data: Record<string, string>;
}

/**
 * Opens a named secret of a tenant; every value is registered with the scrubber before it is returned.
 * @throws stalled(SecretNotFound)
 */
export async function readSecret(deps: WorkerDeps, tenant: string, name: string): Promise<OpenedSecret> {
  const row = await getSecret(deps.db, tenant, name);
  if (row === undefined) {
    throw stalled('SecretNotFound', `secret ${name} does not exist in tenant ${tenant}; apply a Secret of that name`);
  }
  // Sealed by the service from a validated manifest; the seal proves that nobody changed it.
  const data = JSON.parse(open(deps.masterKey, row.sealed, `secret/${tenant}/${name}`).toString('utf8')) as Record<
    string,
    string
  >;
  for (const value of Object.values(data)) deps.scrubber.register(value);
  return { version: row.version, data };
}

/** One key of a named secret. @throws stalled(SecretNotFound) naming the key. */
export async function readSecretKey(deps: WorkerDeps, tenant: string, ref: { secret: string; key: string }) {
  const secret = await readSecret(deps, tenant, ref.secret);
  const value = secret.data[ref.key];
  if (value !== undefined) return { value, version: secret.version };
  throw stalled('SecretNotFound', `secret ${ref.secret} in tenant ${tenant} has no key ${ref.key}`);
}
