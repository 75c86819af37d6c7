import { stalled } from '#core/domain/errors.ts';
import { canonicalJson } from '#core/domain/plan.ts';
import type { ExternalSecret } from '#core/domain/manifest.ts';
import { sealContext } from '#core/seal-context.ts';
import { hmacValue, open } from '#core/secrets.ts';
import { getSecret, noteReading, type SecretRow } from '#core/store/secrets.ts';
import { tenantHmacKey } from '#core/store/tenants.ts';
import type { WorkerDeps } from './deps.ts';

export interface OpenedSecret {
  /** Grows with every change, of an external one too. */
  version: number;
  data: Record<string, string>;
}

function missing(tenant: string, name: string) {
  return stalled('SecretNotFound', `secret ${name} does not exist in tenant ${tenant}; apply a Secret of that name`);
}

function openOwn(deps: WorkerDeps, { tenant, name, sealed }: SecretRow): Record<string, string> {
  // Sealed by the service from a validated manifest; the seal proves that nobody changed it.
  const data = JSON.parse(open(deps.masterKey, sealed, sealContext.secret(tenant, name)).toString('utf8')) as Record<
    string,
    string
  >;
  for (const value of Object.values(data)) deps.scrubber.register(value);
  return data;
}

/** Credentials of a store are of our own: a store behind a store would have no end. */
async function storeCredentials(deps: WorkerDeps, tenant: string, { credentials }: ExternalSecret, of: string) {
  if (credentials === undefined) return {};
  const row = await getSecret(deps.db, tenant, credentials);
  if (row === undefined) throw missing(tenant, credentials);
  if (row.external === null) return openOwn(deps, row);
  throw stalled(
    'SpecInvalid',
    `secret ${of} of tenant ${tenant} is read with secret ${credentials}, which is external itself; give that one its values in data`,
  );
}

async function readExternal(deps: WorkerDeps, row: SecretRow, external: ExternalSecret): Promise<OpenedSecret> {
  const { tenant, name } = row;
  const data = await deps.secretStores({
    tenant,
    name,
    external,
    credentials: await storeCredentials(deps, tenant, external, name),
    signal: deps.shutdown,
    register: (secret) => deps.scrubber.register(secret),
  });
  const digest = hmacValue(await tenantHmacKey(deps.db, deps.masterKey, tenant), canonicalJson(data));
  return { version: await noteReading(deps.db, { tenant, name, digest }), data };
}

/**
 * Opens a named secret of a tenant, from our database or from the store it is kept in; every value is registered with the
 * scrubber before it is returned. The one way in which a worker comes to a secret.
 * @throws stalled(SecretNotFound | SpecInvalid), transient(SecretStoreFailed)
 */
export async function readSecret(deps: WorkerDeps, tenant: string, name: string): Promise<OpenedSecret> {
  const row = await getSecret(deps.db, tenant, name);
  if (row === undefined) throw missing(tenant, name);
  if (row.external !== null) return await readExternal(deps, row, row.external);
  return { version: row.version, data: openOwn(deps, row) };
}

/** One key of a named secret. @throws like `readSecret`, and stalled(SecretNotFound) naming the key */
export async function readSecretKey(deps: WorkerDeps, tenant: string, ref: { secret: string; key: string }) {
  const secret = await readSecret(deps, tenant, ref.secret);
  const value = Object.hasOwn(secret.data, ref.key) ? secret.data[ref.key] : undefined;
  if (value !== undefined) return { value, version: secret.version };
  throw stalled('SecretNotFound', `secret ${ref.secret} in tenant ${tenant} has no key ${ref.key}`);
}

/** The same dependencies, reading each secret of a store once: a run does not see two values of one. */
export function readingOnce(deps: WorkerDeps): WorkerDeps {
  const readings = new Map<string, ReturnType<WorkerDeps['secretStores']>>();
  return {
    ...deps,
    secretStores: (read) => {
      const key = canonicalJson([read.tenant, read.name, read.external]);
      const known = readings.get(key) ?? deps.secretStores(read);
      readings.set(key, known);
      return known;
    },
  };
}
