import type { ExternalSecret } from '../domain/manifest.ts';
import { readAws } from './aws.ts';
import { readAzure } from './azure.ts';
import { environmentStore } from './environment.ts';
import { fileStore } from './file.ts';
import { readGcp } from './gcp.ts';
import { cannotBeUsed, notThere, textsOf, type ReadStore, type StoreContent, type StoreRead } from './port.ts';
import { readVault } from './vault.ts';

/** Reads a Secret that is kept elsewhere: its keys and values. */
export type SecretStores = (read: StoreRead) => Promise<Record<string, string>>;

export interface SecretStoreOptions {
  /** `PLUMBLINE_SECRET_FILES` */
  files: string;
  /** `PLUMBLINE_SECRET_VARIABLES` */
  variables: string;
  /** Tenants this worker serves. */
  tenants: readonly string[];
  /** Every tenant of the installation; those that are served where there are no others. */
  allTenants?: () => Promise<readonly string[]>;
  /** The worker's own environment; only variables with that prefix are read. */
  environment: Record<string, string | undefined>;
  /** Of one reading, in milliseconds; 20 s by default. */
  limitMs?: number;
}

const LIMIT_MS = 20_000;
/** As for a Secret in our own database. */
const MAX_VALUE_CHARS = 65_536;
const MAX_KEYS = 500;
/** The key of a text that is no JSON object. */
const WHOLE = 'value';

function objectIn(text: string): Record<string, unknown> | undefined {
  if (!text.trimStart().startsWith('{')) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : undefined;
  } catch {
    return undefined;
  }
}

function valuesOf(content: StoreContent): Record<string, string> {
  if ('values' in content) return content.values;
  const object = objectIn(content.text);
  if (object === undefined) return { [WHOLE]: content.text };
  return textsOf(object);
}

/** Our keys for the store's; all of them where the Secret names none. */
function mapped(read: StoreRead, values: Record<string, string>): Record<string, string> {
  const { keys } = read.external;
  if (keys === undefined) return values;
  const entries = Object.entries(keys).map(([ours, theirs]) => {
    const value = Object.hasOwn(values, theirs) ? values[theirs] : undefined;
    if (value === undefined) throw notThere(read, `it has no key ${theirs}`);
    return [ours, value] as const;
  });
  return Object.fromEntries(entries);
}

function checkSizes(read: StoreRead, values: Record<string, string>): void {
  if (Object.keys(values).length > MAX_KEYS) throw cannotBeUsed(read, `it holds more than ${MAX_KEYS} keys`);
  for (const [key, value] of Object.entries(values)) {
    if (value.length > MAX_VALUE_CHARS)
      throw cannotBeUsed(read, `key ${key} is longer than ${MAX_VALUE_CHARS} characters`);
  }
}

/**
 * The stores a worker can read. Every value is registered before it is returned.
 * @throws transient(SecretStoreFailed), stalled(SecretNotFound | SpecInvalid)
 */
export function createSecretStores(options: SecretStoreOptions): SecretStores {
  const { tenants, allTenants } = options;
  const named = async () => [...tenants, ...((await allTenants?.()) ?? [])];
  const stores: Record<ExternalSecret['store'], ReadStore> = {
    file: fileStore(options.files),
    environment: environmentStore(options.variables, named, options.environment),
    vault: readVault,
    'aws-secrets-manager': readAws,
    'gcp-secret-manager': readGcp,
    'azure-key-vault': readAzure,
  };
  return async (given) => {
    const signal = AbortSignal.any([given.signal, AbortSignal.timeout(options.limitMs ?? LIMIT_MS)]);
    const read = { ...given, signal, mayUseLoopback: tenants.length < 2 };
    const values = valuesOf(await stores[read.external.store](read));
    for (const value of Object.values(values)) read.register(value);
    checkSizes(read, values);
    return mapped(read, values);
  };
}
