import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import { field } from './body.ts';
import { askCredentialHelper, type HelperEnvironment } from './credential-helper.ts';
import type { RegistryCredentials } from './port.ts';
import { hostKey } from './registries.ts';

/** The address docker keeps the credentials of Docker Hub under. */
const HUB_SERVER = 'https://index.docker.io/v1/';
const MAX_BYTES = 1024 * 1024;
/** Keys of a secret that hold a docker config: of Kubernetes' type `kubernetes.io/dockerconfigjson`, and the file's name. */
const SECRET_KEYS = ['.dockerconfigjson', 'config.json'] as const;

/** `config.json` of docker and its kin, and where it was read, for messages. */
export interface DockerConfig {
  origin: string;
  content: unknown;
}

/** Where the credentials of a host are kept. */
export type Kept = { credentials: RegistryCredentials } | { helper: string } | undefined;

function invalid(config: DockerConfig, host: string, why: string): ReconcileError {
  return stalled('SourceUnauthorized', `the entry for ${host} in ${config.origin} ${why}; log in again`);
}

/**
 * Reads a docker config.
 * @throws ReconcileError stalled SourceUnauthorized, without a word of the text
 */
export function parseDockerConfig(text: string, origin: string): DockerConfig {
  if (text.length > MAX_BYTES) throw stalled('SourceUnauthorized', `${origin} is larger than ${MAX_BYTES} bytes`);
  try {
    const content: unknown = JSON.parse(text);
    return { origin, content };
  } catch {
    throw stalled('SourceUnauthorized', `${origin} is not valid JSON; write it anew with docker login`);
  }
}

/** A key of `auths` as a host: older clients wrote addresses. */
function keyOfAuth(key: string): string {
  return hostKey(key.replace(/^https?:\/\//, '').replace(/\/(v[12]\/?)?$/, ''));
}

/** The value under exactly this host, port included; never by a part of it. */
function underHost(map: unknown, host: string): unknown {
  if (typeof map !== 'object' || map === null) return undefined;
  const entries = Object.entries(map);
  const exact = entries.find(([key]) => key === host);
  return (exact ?? entries.find(([key]) => keyOfAuth(key) === hostKey(host)))?.[1];
}

function text(entry: unknown, name: string): string | undefined {
  const value = field(entry, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function userOf(
  entry: unknown,
  config: DockerConfig,
  host: string,
): { username: string; password: string } | undefined {
  const auth = text(entry, 'auth');
  if (auth === undefined) {
    const [username, password] = [text(entry, 'username'), text(entry, 'password')];
    return username === undefined || password === undefined ? undefined : { username, password };
  }
  // docker pads what it writes with NUL.
  const decoded = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
  const colon = decoded.indexOf(':');
  if (colon < 1) throw invalid(config, host, 'is not user:password in base64');
  return { username: decoded.slice(0, colon), password: decoded.slice(colon + 1) };
}

function fromAuths(config: DockerConfig, host: string): RegistryCredentials | undefined {
  const entry = underHost(field(config.content, 'auths'), host);
  const registryToken = text(entry, 'registrytoken');
  if (registryToken !== undefined) return { registryToken };
  const user = userOf(entry, config, host);
  const identityToken = text(entry, 'identitytoken');
  if (identityToken !== undefined) return { identityToken, ...(user === undefined ? {} : { username: user.username }) };
  return user;
}

/**
 * Where a docker config keeps the credentials of a host: `credHelpers` before `credsStore` before `auths`. A store counts
 * where `auths` marks that it knows the host, as docker does on login, and holds nothing itself.
 * @throws ReconcileError stalled SourceUnauthorized
 */
export function findInDockerConfig(config: DockerConfig, host: string): Kept {
  const helper = underHost(field(config.content, 'credHelpers'), host);
  if (typeof helper === 'string' && helper !== '') return { helper };
  const credentials = fromAuths(config, host);
  const store = text(config.content, 'credsStore');
  const marked = underHost(field(config.content, 'auths'), host) !== undefined;
  if (store !== undefined && marked && credentials === undefined) return { helper: store };
  return credentials === undefined ? undefined : { credentials };
}

/** Whether credential helpers may be run, and with what of our environment. */
export type Helpers = 'off' | { environment: HelperEnvironment };

/**
 * The credentials of one host in a docker config; undefined: anonymous.
 * @throws ReconcileError stalled SourceUnauthorized where they are with a helper and helpers are off
 */
export async function dockerCredentials(
  config: DockerConfig,
  host: string,
  helpers: Helpers,
  signal: AbortSignal,
): Promise<RegistryCredentials | undefined> {
  const kept = findInDockerConfig(config, host);
  if (kept === undefined) return undefined;
  if ('credentials' in kept) return kept.credentials;
  if (helpers === 'off') {
    throw stalled(
      'SourceUnauthorized',
      `the credentials for ${host} are kept by docker-credential-${kept.helper} (${config.origin}), which is not run: set PLUMBLINE_CREDENTIAL_HELPERS=on, or store them in \`auths\``,
    );
  }
  const server = hostKey(host) === 'docker.io' ? HUB_SERVER : host;
  return await askCredentialHelper(kept.helper, server, helpers.environment, signal);
}

/**
 * The credentials of a host in a secret: a docker config under `.dockerconfigjson` or `config.json`, else the keys
 * `username` and `password`. A helper that a secret names is never run. Undefined where a config does not know the host.
 * @throws ReconcileError stalled SecretNotFound (keys are missing) | SourceUnauthorized; never holds a value of the secret
 */
export function credentialsFromSecret(
  data: Readonly<Record<string, string>>,
  host: string,
): RegistryCredentials | undefined {
  const { username, password } = data;
  if (username !== undefined && password !== undefined) return { username, password };
  const key = SECRET_KEYS.find((name) => data[name] !== undefined);
  const json = key === undefined ? undefined : data[key];
  if (key === undefined || json === undefined) {
    throw stalled(
      'SecretNotFound',
      'the secret of spec.source.credentials needs the keys username and password, or .dockerconfigjson with a docker config',
    );
  }
  const kept = findInDockerConfig(
    parseDockerConfig(json, `the key ${key} of the secret of spec.source.credentials`),
    host,
  );
  if (kept === undefined || 'credentials' in kept) return kept?.credentials;
  throw stalled(
    'SourceUnauthorized',
    `the key ${key} of the secret of spec.source.credentials names docker-credential-${kept.helper} for ${host}: a helper named by a secret is not run; store the credentials in \`auths\``,
  );
}
