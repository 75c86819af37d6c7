import { Compile } from 'typebox/compile';
import { SecretSpec, type ExternalSecret } from '#core/domain/manifest.ts';
import { sealContext } from '#core/seal-context.ts';
import type { Scrubber } from '#core/scrubber.ts';
import { open, seal, type MasterKey } from '#core/secrets.ts';
import { getSecret } from '#core/store/secrets.ts';
import type { Queryable } from '#core/store/database.ts';

const Values = Compile(SecretSpec.properties.data);

/** Seals the values of a Secret for storing. */
export function sealSecret(key: MasterKey, tenant: string, name: string, data: Record<string, string>): Buffer {
  return seal(key, Buffer.from(JSON.stringify(data)), sealContext.secret(tenant, name));
}

/** A stored Secret: its values, or where they are kept; the service reads no store. */
export interface StoredSecret {
  data: Record<string, string>;
  external: ExternalSecret | null;
}

/** A stored Secret; undefined when there is none. Never log or answer its values. */
export async function storedSecret(
  deps: { db: Queryable; masterKey: MasterKey; scrubber: Pick<Scrubber, 'register'> },
  tenant: string,
  name: string,
): Promise<StoredSecret | undefined> {
  const row = await getSecret(deps.db, tenant, name);
  if (row === undefined) return undefined;
  const data: unknown = JSON.parse(open(deps.masterKey, row.sealed, sealContext.secret(tenant, name)).toString('utf8'));
  if (!Values.Check(data)) throw new Error(`secret ${name} of tenant ${tenant} holds something else than texts`);
  for (const value of Object.values(data)) deps.scrubber.register(value);
  return { data, external: row.external };
}

/** The values of a Secret that is kept here; undefined when there is none, or it is kept elsewhere. */
export async function openSecret(
  deps: Parameters<typeof storedSecret>[0],
  tenant: string,
  name: string,
): Promise<Record<string, string> | undefined> {
  const stored = await storedSecret(deps, tenant, name);
  return stored?.external === null ? stored.data : undefined;
}
