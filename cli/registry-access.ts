import { ConfigError, loadConfig } from '#core/config.ts';
import { ReconcileError } from '#core/domain/errors.ts';
import type { Repository } from '#core/domain/reference.ts';
import { dockerCredentials } from '#core/oci/docker-config.ts';
import { loadRegistrySettings } from '#core/oci/registries-file.ts';
import type { RegistrySettings } from '#core/oci/registries.ts';
import { createRegistryClient, type RegistryClient } from '#core/oci/registry-client.ts';
import type { Context } from './context.ts';
import { failure, usage } from './error.ts';
import {
  CREDENTIALS,
  dockerHelpers,
  readDockerConfig,
  registryCredentials,
  type CredentialSettings,
} from './registry-credentials.ts';

const LIMIT_MS = 10 * 60_000;

export interface RegistryFlags {
  plainHttp?: boolean;
}

export interface RegistryAccess {
  /** Settings that hold the credentials. */
  credentials?: CredentialSettings;
  /** Option that allows plain HTTP, for messages. */
  plainHttpOption?: string;
  limitMs?: number;
}

/** Mirrors, certificates and proxies as a worker has them. Which registries a Stack may name does not bind a person. */
async function readSettings(env: Context['env']): Promise<RegistrySettings> {
  try {
    return { ...(await loadRegistrySettings(loadConfig(env))), allowed: [] };
  } catch (error) {
    throw error instanceof ConfigError ? usage(error.message) : error;
  }
}

/**
 * Works with one registry, with the credentials of the environment or Docker's config; the connections end with it.
 * @throws CliError that says which setting or option is missing; ReconcileError of the client
 */
export async function withRegistry<T>(
  repository: Repository,
  context: Pick<Context, 'env'>,
  flags: RegistryFlags,
  act: (client: RegistryClient, signal: AbortSignal) => Promise<T>,
  access: RegistryAccess = {},
): Promise<T> {
  const { credentials = CREDENTIALS, plainHttpOption = '--plain-http', limitMs = LIMIT_MS } = access;
  const { host } = repository;
  const signal = AbortSignal.timeout(limitMs);
  const docker = await readDockerConfig(context.env);
  const found = await registryCredentials(host, context.env, docker, credentials, signal);
  const client = createRegistryClient({
    plainHttpHosts: flags.plainHttp === true ? [host] : [],
    settings: await readSettings(context.env),
    credentials: () => found,
    mirrorCredentials: (mirror) => dockerCredentials(docker, mirror, dockerHelpers(context.env), signal),
    userAgent: 'plumb',
    onWarning: (registry, text) => process.stderr.write(`plumb: the registry ${registry} warns: ${text}\n`),
  });
  try {
    return await act(client, signal);
  } catch (error) {
    // A copy has two registries, and only one of them is ours to speak of.
    if (!(error instanceof ReconcileError && error.message.includes(host))) throw error;
    if (error.reason === 'SourceUnauthorized') {
      const user = found !== undefined && 'username' in found ? found.username : undefined;
      const refused = user === undefined ? 'refused the credentials' : `refused the credentials of ${user}`;
      const which = found === undefined ? 'wants credentials' : refused;
      throw failure(
        `the registry ${host} ${which}: set ${credentials.username} and ${credentials.password}, or log in with docker`,
        error,
      );
    }
    // OpenSSL's words for an answer that is no TLS.
    if (!error.message.includes('wrong version number')) throw error;
    throw usage(`the registry ${host} does not speak HTTPS; reach it by plain HTTP with ${plainHttpOption}`);
  } finally {
    await client.close();
  }
}
