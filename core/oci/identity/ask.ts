import { stalled, transient, type ReconcileError } from '#core/domain/errors.ts';
import type { RegistryCredentials } from '../port.ts';

/** Credentials of a cloud for one registry, until a point in time. */
export type CloudCredentials = RegistryCredentials & { expiresAt: Date };

/** Where the token endpoints are; the clouds' own by default. For tests. */
export interface CloudEndpoints {
  /** Origin that answers for STS and ECR. */
  aws?: string;
  azure?: {
    /** Origin of Entra ID, HTTPS, with the CA that signed its certificate. */
    authority: string;
    ca: string;
    /** Origin that answers for the registry. */
    registry: string;
  };
}

/** One request for credentials. */
export interface Ask {
  /** Host of the registry, already known to be one of the cloud's. */
  host: string;
  endpoints: CloudEndpoints;
  limitMs: number;
  signal: AbortSignal;
}

const SHOWN = 300;
/** Addresses without their query and names of roles, which help; else runs as long as keys and tokens are. */
const MAYBE_SECRET = /(https?:\/\/[\w./-]+|(?:assumed-)?role\/[\w+=,.@/-]+)|[A-Za-z0-9+/_=.~-]{37,}/g;

/**
 * What an SDK said, short and in one line. What may be a token is left out: errors of SDKs quote requests, so for the same
 * reason they never become the `cause` of ours.
 */
export function saidBy(error: unknown): string {
  const name = error instanceof Error && error.name !== 'Error' ? `${error.name}: ` : '';
  const message = error instanceof Error ? error.message : String(error);
  const line = `${name}${message}`.replace(/\p{C}+/gu, ' ');
  const text = line.replace(MAYBE_SECRET, (_, helpful: string | undefined) => helpful ?? '[…]');
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** The cloud has no identity for us, or does not let it in: a person has to set that up. */
export function refusedBy(cloud: string, { host }: Ask, error: unknown, whatToDo: string): ReconcileError {
  return stalled(
    'SourceUnauthorized',
    `${cloud} gave this worker no credentials for ${host} (${saidBy(error)}); ${whatToDo}; see docs/workload-identity.md`,
  );
}

/** The cloud did not answer, or with an error of its own. */
export function unreachable(cloud: string, { host }: Ask, error: unknown): ReconcileError {
  return transient(
    'SourceUnreachable',
    `${cloud} could not be asked for credentials for ${host} (${saidBy(error)}); it is tried again`,
  );
}
