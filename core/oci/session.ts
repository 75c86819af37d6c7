import { ReconcileError } from '#core/domain/errors.ts';
import { apiHost, type Repository } from '#core/domain/reference.ts';
import type { Authenticator } from './auth.ts';
import { createExchange, whatOf } from './exchange.ts';
import type { Http, HttpRequest, HttpResponse } from './http.ts';
import { askMirrors, type Mirrors } from './mirrors.ts';
import type { RegistryCredentials } from './port.ts';
import { assertAllowed, NO_REGISTRY_SETTINGS, type RegistrySettings } from './registries.ts';
import { withRetries, type RetryPolicy } from './retry.ts';
import { assertAnswered } from './status.ts';

/** Credentials for a registry, asked for before every request; undefined: anonymous. */
export type CredentialSource = (
  host: string,
) => Promise<RegistryCredentials | undefined> | RegistryCredentials | undefined;

export interface SessionOptions {
  http: Http;
  authenticator: Authenticator;
  retry: RetryPolicy;
  plainHttpHosts: readonly string[];
  credentials: CredentialSource;
  /** Which registries may be used at all; any by default. */
  settings?: RegistrySettings;
  /** None by default. */
  mirrors?: Mirrors;
  /** Credentials for mirrors, which never get those of the registry; anonymous by default. */
  mirrorCredentials?: CredentialSource;
  /** Sees every answer of the registry itself. */
  onAnswer?(host: string, response: HttpResponse): void;
}

export interface SessionRequest {
  repository: Repository;
  method: HttpRequest['method'];
  /** Absolute, or a path at the registry of the repository. */
  target: string | URL;
  access: 'pull' | 'pull,push';
  headers?: Record<string, string>;
  body?: HttpRequest['body'];
  limitMs: number;
  /** Off for requests that cannot be repeated as they are. */
  retry?: boolean;
  signal: AbortSignal;
}

/** Requests to registries, authenticated, redirected and retried; every other status comes back to the caller. */
export interface Session {
  /** @throws ReconcileError SourceUnreachable | SourceUnauthorized | InvalidReference */
  send(request: SessionRequest): Promise<HttpResponse>;
}

/** Where the API of a registry lives. */
function baseUrl(host: string, plainHttp: boolean): URL {
  return new URL(`${plainHttp ? 'http' : 'https'}://${apiHost(host)}/`);
}

/** What the mirrors said before the registry itself failed: in an air gap that is what helps. */
function withMirrors(error: unknown, failures: readonly string[]): unknown {
  if (failures.length === 0 || !(error instanceof ReconcileError)) return error;
  const { kind, reason, retryAfterMs, cause } = error;
  const message = `${error.message}; before that ${failures.join('; ')}`;
  return new ReconcileError({ kind, reason, message, cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
}

/** Makes a session over one set of connections. */
export function createSession(options: SessionOptions): Session {
  const { http, authenticator, mirrors, settings = NO_REGISTRY_SETTINGS } = options;
  const { mirrorCredentials = () => undefined } = options;
  const exchange = createExchange(http, authenticator);

  async function attempt(request: SessionRequest): Promise<HttpResponse> {
    const { host } = request.repository;
    const base = baseUrl(host, options.plainHttpHosts.includes(host));
    const response = await exchange(request, { base, credentials: options.credentials });
    if (response.url.origin === base.origin) options.onAnswer?.(host, response);
    const { status } = response;
    if (status === 408 || status === 429 || status >= 500) await assertAnswered(response, whatOf(request));
    return response;
  }

  async function fromMirrors(request: SessionRequest): Promise<HttpResponse | string[]> {
    if (mirrors === undefined || request.access !== 'pull') return [];
    return await askMirrors(mirrors, request, ({ repository, plainHttp, target }) =>
      exchange(
        { ...request, repository, target },
        { base: baseUrl(repository.host, plainHttp), credentials: mirrorCredentials },
      ),
    );
  }

  return {
    async send(request) {
      assertAllowed(settings, request.repository);
      const mirrored = await fromMirrors(request);
      if (!Array.isArray(mirrored)) return mirrored;
      const ask = () => attempt(request);
      try {
        const response = await (request.retry === false ? ask() : withRetries(options.retry, request.signal, ask));
        const notes = [...(response.note === undefined ? [] : [response.note]), ...mirrored];
        return notes.length === 0 ? response : { ...response, note: notes.join('; ') };
      } catch (error) {
        throw withMirrors(error, mirrored);
      }
    },
  };
}
