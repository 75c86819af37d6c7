import { unlessAborted } from '#core/unless-aborted.ts';
import { ReconcileError, transient, unreachable as impossible } from '#core/domain/errors.ts';
import type { Cloud } from '#core/domain/manifest.ts';
import { unreachable, type Ask, type CloudCredentials, type CloudEndpoints } from './ask.ts';
import { askAws } from './aws.ts';
import { askAzure } from './azure.ts';
import { readCloudHost, type CloudHost } from './cloud-host.ts';
import { askGoogle } from './google.ts';

export type { CloudCredentials, CloudEndpoints };

/** Credentials are renewed after this part of their life, so that none run out under way. */
const USED_LIFE = 0.8;
const LIMIT_MS = 30_000;
const MAX_CACHED = 256;

export interface CloudIdentityOptions {
  /** Upper limit of one request for credentials, all its steps together, in milliseconds; 30 s by default. */
  limitMs?: number;
  endpoints?: CloudEndpoints;
  now?: () => number;
}

/** Credentials for a registry of a cloud, from the identity this process runs as. */
export type CloudIdentity = (cloud: Cloud, host: string, signal: AbortSignal) => Promise<CloudCredentials>;

interface Kept {
  credentials: CloudCredentials;
  /** Epoch milliseconds. */
  renewAt: number;
}

async function askCloud(target: CloudHost, ask: Ask): Promise<CloudCredentials> {
  switch (target.cloud) {
    case 'aws':
      return askAws(target, ask);
    case 'azure':
      return askAzure(ask);
    case 'gcp':
      return askGoogle(ask);
    default:
      return impossible(target);
  }
}

/** Metadata services are away at times, and say it as if there were no identity: where there was one, it is tried again. */
function unlessItWorkedBefore(error: unknown, worked: boolean): unknown {
  const refused = error instanceof ReconcileError && error.reason === 'SourceUnauthorized';
  return refused && worked ? transient('SourceUnauthorized', error.message) : error;
}

/**
 * Makes the source of workload-identity credentials; a process makes one. They are kept for each cloud and host for 80 %
 * of their life, and asked for by one request at a time. The SDK of a cloud is loaded when it is first needed and finds
 * the identity by the cloud's own rules (docs/workload-identity.md).
 *
 * The function it returns throws ReconcileError: stalled InvalidReference (a host that is none of the cloud's), stalled
 * SourceUnauthorized, transient SourceUnreachable; or the reason of the caller's signal.
 */
export function createCloudIdentity(options: CloudIdentityOptions = {}): CloudIdentity {
  const { limitMs = LIMIT_MS, endpoints = {}, now = Date.now } = options;
  const kept = new Map<string, Kept>();
  const flights = new Map<string, Promise<CloudCredentials>>();

  function keep(key: string, credentials: CloudCredentials, askedAt: number): void {
    kept.delete(key);
    const life = credentials.expiresAt.getTime() - askedAt;
    kept.set(key, { credentials, renewAt: askedAt + life * USED_LIFE });
    const [oldest] = kept.keys();
    if (kept.size > MAX_CACHED && oldest !== undefined) kept.delete(oldest);
  }

  async function obtain(key: string, target: CloudHost, host: string): Promise<CloudCredentials> {
    const askedAt = now();
    // Shared by every caller that waits for it, so no single caller's signal may end it.
    const ask: Ask = { host, endpoints, limitMs, signal: AbortSignal.timeout(limitMs) };
    try {
      const credentials = await unlessAborted(askCloud(target, ask), ask.signal);
      keep(key, credentials, askedAt);
      return credentials;
    } catch (error) {
      const slow = ask.signal.aborted && error === ask.signal.reason;
      throw slow
        ? unreachable(target.cloud, ask, `no answer within ${limitMs / 1000} s`)
        : unlessItWorkedBefore(error, kept.has(key));
    }
  }

  return async (cloud, host, signal) => {
    signal.throwIfAborted();
    const target = readCloudHost(cloud, host);
    const key = `${cloud} ${host}`;
    const found = kept.get(key);
    if (found !== undefined && now() < found.renewAt) return found.credentials;
    const flying = flights.get(key);
    if (flying !== undefined) return unlessAborted(flying, signal);
    const flight = obtain(key, target, host).finally(() => flights.delete(key));
    flights.set(key, flight);
    return unlessAborted(flight, signal);
  };
}
