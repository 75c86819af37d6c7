import { field } from '#core/oci/body.ts';
import type { RegistryCredentials } from '#core/oci/port.ts';
import { usage } from './error.ts';
import type { Environment } from './settings.ts';

/** `config.json` of Docker and its kin. */
export interface DockerConfig {
  file: string;
  content: unknown;
}

/** Names Docker Hub goes by in `auths`. */
const HUB_KEYS = ['docker.io', 'https://index.docker.io/v1/', 'index.docker.io'];

/** An `auths` key as a host: older clients wrote addresses. */
function hostOf(key: string): string {
  return key
    .replace(/^https?:\/\//, '')
    .replace(/\/(v[12]\/?)?$/, '')
    .toLowerCase();
}

function fromAuth(entry: unknown, file: string, host: string): RegistryCredentials | undefined {
  const auth = field(entry, 'auth');
  if (typeof auth !== 'string' || auth === '') return undefined;
  const decoded = Buffer.from(auth, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon < 1) throw usage(`the entry for ${host} in ${file} is not user:password in base64; log in again`);
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

/**
 * Credentials for one registry: PLUMBLINE_REGISTRY_USERNAME and PLUMBLINE_REGISTRY_PASSWORD, else the entry for exactly
 * this host in Docker's `auths`. Undefined: anonymous.
 * @throws CliError when half of them is set, or only a credential helper knows them
 */
export function registryCredentials(
  host: string,
  env: Environment,
  docker: DockerConfig,
): RegistryCredentials | undefined {
  const username = env['PLUMBLINE_REGISTRY_USERNAME'] ?? '';
  const password = env['PLUMBLINE_REGISTRY_PASSWORD'] ?? '';
  if ((username === '') !== (password === '')) {
    throw usage('set PLUMBLINE_REGISTRY_USERNAME and PLUMBLINE_REGISTRY_PASSWORD together, or neither');
  }
  if (username !== '') return { username, password };
  const auths = field(docker.content, 'auths');
  const entries = typeof auths === 'object' && auths !== null ? Object.entries(auths) : [];
  const keys = host === 'docker.io' ? HUB_KEYS : [host];
  const entry = entries.find(([key]) => keys.includes(key) || keys.includes(hostOf(key)));
  const found = entry === undefined ? undefined : fromAuth(entry[1], docker.file, host);
  if (found !== undefined) return found;
  const helper =
    field(field(docker.content, 'credHelpers'), host) ??
    (entry === undefined ? undefined : field(docker.content, 'credsStore'));
  if (typeof helper === 'string') {
    throw usage(
      `the credentials for ${host} are kept by docker-credential-${helper}, which plumb does not run: set PLUMBLINE_REGISTRY_USERNAME and PLUMBLINE_REGISTRY_PASSWORD`,
    );
  }
  return undefined;
}
