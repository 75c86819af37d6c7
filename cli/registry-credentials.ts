import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { dockerCredentials, parseDockerConfig, type DockerConfig, type Helpers } from '#core/oci/docker-config.ts';
import type { RegistryCredentials } from '#core/oci/port.ts';
import { usage } from './error.ts';
import type { Environment } from './settings.ts';

/** Settings that hold the credentials of a registry. */
export interface CredentialSettings {
  username: string;
  password: string;
}

export const CREDENTIALS = {
  username: 'PLUMBLINE_REGISTRY_USERNAME',
  password: 'PLUMBLINE_REGISTRY_PASSWORD',
} as const satisfies CredentialSettings;
/** Of the side a copy reads from, which never gets those of the side it writes to. */
export const FROM_CREDENTIALS = {
  username: 'PLUMBLINE_FROM_REGISTRY_USERNAME',
  password: 'PLUMBLINE_FROM_REGISTRY_PASSWORD',
} as const satisfies CredentialSettings;

/**
 * Docker's config.json, where there is one.
 * @throws ReconcileError stalled SourceUnauthorized where it cannot be parsed
 */
export async function readDockerConfig(env: Environment): Promise<DockerConfig> {
  const origin = join(env['DOCKER_CONFIG'] ?? join(homedir(), '.docker'), 'config.json');
  const text = await readFile(origin, 'utf8').catch(() => '');
  return text === '' ? { origin, content: undefined } : parseDockerConfig(text, origin);
}

/** Credential helpers are run where PLUMBLINE_CREDENTIAL_HELPERS is `on`. */
export function dockerHelpers(env: Environment): Helpers {
  return env['PLUMBLINE_CREDENTIAL_HELPERS'] === 'on' ? { environment: env } : 'off';
}

/**
 * Credentials for one registry: the two settings, else Docker's entry for exactly this host. Credential helpers are run
 * where PLUMBLINE_CREDENTIAL_HELPERS is `on`. Undefined: anonymous.
 * @throws CliError when half of the settings is set; ReconcileError when only a helper knows them and helpers are off
 */
export async function registryCredentials(
  host: string,
  env: Environment,
  docker: DockerConfig,
  settings: CredentialSettings,
  signal: AbortSignal,
): Promise<RegistryCredentials | undefined> {
  const username = env[settings.username] ?? '';
  const password = env[settings.password] ?? '';
  if ((username === '') !== (password === '')) {
    throw usage(`set ${settings.username} and ${settings.password} together, or neither`);
  }
  if (username !== '') return { username, password };
  return await dockerCredentials(docker, host, dockerHelpers(env), signal);
}
