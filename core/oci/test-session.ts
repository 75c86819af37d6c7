import { onTestFinished } from 'vitest';
import { createAuthenticator } from './auth.ts';
import { createHttp, DEFAULT_TIMEOUTS, type HttpTimeouts } from './http.ts';
import { createMirrors } from './mirrors.ts';
import {
  NO_ENTRY,
  NO_REGISTRY_SETTINGS,
  plainHttpHosts,
  type RegistryEntry,
  type RegistrySettings,
} from './registries.ts';
import { createSession, type Session, type SessionOptions, type SessionRequest } from './session.ts';
import type { TestServer } from './test-server.ts';

export interface TestSessionOptions extends Partial<Pick<SessionOptions, 'credentials' | 'mirrorCredentials'>> {
  /** Spoken to by plain HTTP. */
  plain?: TestServer[];
  entries?: Record<string, Partial<RegistryEntry>>;
  settings?: Partial<RegistrySettings>;
  timeouts?: Partial<HttpTimeouts>;
  attempts?: number;
}

/** A session over connections of its own, closed when the test ends. */
export function startTestSession(options: TestSessionOptions): Session {
  const entries = Object.entries(options.entries ?? {}).map(
    ([host, entry]) => [host, { ...NO_ENTRY, ...entry }] as const,
  );
  const settings = { ...NO_REGISTRY_SETTINGS, ...options.settings, entries: new Map(entries) };
  const plain = [...(options.plain ?? []).map(({ host }) => host), ...plainHttpHosts(settings)];
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const http = createHttp({ plainHttpHosts: plain, privateHosts: [], timeouts, userAgent: 'test', settings });
  onTestFinished(() => http.close());
  const { credentials = () => undefined, mirrorCredentials, attempts = 1 } = options;
  return createSession({
    http,
    authenticator: createAuthenticator(http, 5_000),
    retry: { attempts, baseMs: 1, maxMs: 5, maxSleepMs: 1_000 },
    plainHttpHosts: plain,
    credentials,
    settings,
    mirrors: createMirrors(settings),
    ...(mirrorCredentials === undefined ? {} : { mirrorCredentials }),
  });
}

/** A GET of `target` at `host`, in the repository `infra/shop`. */
export function getFrom(host: string, target: string, over: Partial<SessionRequest> = {}): SessionRequest {
  return {
    repository: { host, name: 'infra/shop' },
    method: 'GET',
    target: `/v2/infra/shop${target}`,
    access: 'pull',
    limitMs: 10_000,
    signal: AbortSignal.timeout(20_000),
    ...over,
  };
}
