import { readFile } from 'node:fs/promises';
import { ConfigError, type Config } from '../config.ts';
import { transient } from '../domain/errors.ts';
import type { HelperEnvironment } from './credential-helper.ts';
import { dockerCredentials, parseDockerConfig } from './docker-config.ts';
import type { RegistryCredentials } from './port.ts';
import { loadRegistrySettings, type RegistryConfig } from './registries-file.ts';
import { createRegistryClient, type RegistryClient, type RegistryClientOptions } from './registry-client.ts';
import type { CredentialSource } from './session.ts';

/** A helper has a limit of its own, well below this one. */
const LOOKUP_MS = 30_000;
const KEPT_MS = 60_000;
const MAX_KEPT = 1000;

/** The settings a client is made from. */
export type ClientConfig = RegistryConfig &
  Pick<Config, 'PLUMBLINE_DOCKER_CONFIG' | 'PLUMBLINE_CREDENTIAL_HELPERS' | 'plainHttpRegistries'>;

/** Asks once a minute for each host, and for all who ask at the same time together; a failure is not kept. */
function keptForAWhile(source: (host: string) => Promise<RegistryCredentials | undefined>): CredentialSource {
  const kept = new Map<string, { until: number; answer: Promise<RegistryCredentials | undefined> }>();
  return (host) => {
    const known = kept.get(host);
    if (known !== undefined && known.until > Date.now()) return known.answer;
    if (kept.size >= MAX_KEPT) kept.clear();
    const answer = source(host);
    kept.set(host, { until: Date.now() + KEPT_MS, answer });
    answer.catch(() => kept.delete(host));
    return answer;
  };
}

/**
 * Credentials from a docker config, which is read again and again, since logins and mounted secrets are renewed. Helpers
 * are run with parts of `environment` where PLUMBLINE_CREDENTIAL_HELPERS is on.
 */
async function fromDockerConfig(config: ClientConfig, environment: HelperEnvironment): Promise<CredentialSource> {
  const file = config.PLUMBLINE_DOCKER_CONFIG;
  if (file === '') return () => undefined;
  const read = async () => {
    const text = await readFile(file, 'utf8').catch((error: unknown) => {
      throw transient('SourceUnauthorized', `PLUMBLINE_DOCKER_CONFIG ${file} cannot be read`, error);
    });
    return parseDockerConfig(text, file);
  };
  await read().catch((error: unknown) => {
    throw new ConfigError(error instanceof Error ? error.message : String(error), { cause: error });
  });
  const helpers = config.PLUMBLINE_CREDENTIAL_HELPERS === 'on' ? { environment } : 'off';
  return keptForAWhile(async (host) => dockerCredentials(await read(), host, helpers, AbortSignal.timeout(LOOKUP_MS)));
}

/**
 * The registry client of a process, as its settings say; `options` come on top. Of `environment` only what credential
 * helpers need is passed to them.
 * @throws ConfigError naming the setting, or the file and the path in it
 */
export async function createConfiguredClient(
  config: ClientConfig,
  environment: HelperEnvironment,
  options: Partial<RegistryClientOptions> = {},
): Promise<RegistryClient> {
  const [settings, credentials] = await Promise.all([
    loadRegistrySettings(config),
    fromDockerConfig(config, environment),
  ]);
  return createRegistryClient({
    settings,
    credentials,
    mirrorCredentials: credentials,
    ...options,
    plainHttpHosts: [...config.plainHttpRegistries, ...(options.plainHttpHosts ?? [])],
  });
}
