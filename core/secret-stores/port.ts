import { stalled, transient, type ReconcileError } from '../domain/errors.ts';
import type { ExternalSecret } from '../domain/manifest.ts';

/** One reading of a secret that is kept elsewhere. */
export interface StoreRead {
  tenant: string;
  /** Name of the Secret, for messages. */
  name: string;
  external: ExternalSecret;
  /** Values of the Secret in `external.credentials`; empty where it names none. */
  credentials: Record<string, string>;
  signal: AbortSignal;
  /** Whether what listens on the worker's own loopback is for this tenant; of several tenants it is nobody's. */
  mayUseLoopback?: boolean;
  /** Called with every token that is got on the way, before it is used. */
  register(secret: string): void;
}

/** What a store holds at a place: keys and values, or one text that is one value or a JSON object of them. */
export type StoreContent = { values: Record<string, string> } | { text: string };

/** The values of an object as texts; what is no text is written as JSON. */
export function textsOf(values: object): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(values))
    texts[key] = typeof value === 'string' ? value : JSON.stringify(value);
  return texts;
}

/** Reads one kind of store. Errors: `storeFailed`, `notThere`, `cannotBeUsed`. */
export type ReadStore = (read: StoreRead) => Promise<StoreContent>;

function placeOf({ name, tenant, external }: StoreRead): string {
  const at = external.address === undefined ? '' : ` at ${external.address}`;
  return `secret ${name} of tenant ${tenant} (${external.store}${at}, ${external.path})`;
}

/** The store does not answer, or refuses: it is asked again. `said` never holds a value. */
export function storeFailed(read: StoreRead, said: string): ReconcileError {
  return transient(
    'SecretStoreFailed',
    `${placeOf(read)} cannot be read: ${said}. See that the store is up and lets \`credentials\` read there; it is tried again`,
  );
}

/** The store has nothing at the place. */
export function notThere(read: StoreRead, what: string): ReconcileError {
  return stalled('SecretNotFound', `${placeOf(read)}: ${what}; correct path, version or keys, or put it there`);
}

/** The Secret itself cannot be used as it is written. */
export function cannotBeUsed(read: StoreRead, why: string): ReconcileError {
  return stalled('SpecInvalid', `${placeOf(read)}: ${why}`);
}

/** A value of the credentials. @throws stalled(SpecInvalid) naming the keys that would do. */
export function credential(read: StoreRead, key: string): string {
  const value = read.credentials[key];
  if (value !== undefined && value !== '') return value.trim();
  throw cannotBeUsed(read, `spec.external.credentials must name a Secret with the key ${key}`);
}
