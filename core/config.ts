import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';

const positive = (description: string, fallback: number) =>
  Type.Integer({ minimum: 1, default: fallback, description });

/**
 * Every setting, read from the environment once at start. The keys are the names of the variables;
 * `docs/configuration.md` is generated from this schema by `npm run verify`.
 */
export const ConfigSchema = Type.Object({
  PLUMBLINE_DATA: Type.String({
    default: '',
    description: 'Data folder: embedded PostgreSQL and Redis, states, caches. Empty: `$XDG_STATE_HOME/plumbline`.',
  }),
  PLUMBLINE_CACHE: Type.String({
    default: '',
    description:
      'Folder of what can be fetched again: artifacts, program dependencies, provider plugins, by tenant. Empty: `cache` in the data folder.',
  }),
  PLUMBLINE_KEY_FILE: Type.String({
    default: '',
    description:
      'File with the 32-byte master key that seals secrets; made on first start with mode 0600. Must lie outside the data folder. Empty: `$XDG_CONFIG_HOME/plumbline/master.key`.',
  }),
  DATABASE_URL: Type.String({
    default: '',
    description: 'PostgreSQL connection URL. Empty: an embedded cluster in the data folder.',
  }),
  REDIS_URL: Type.String({
    default: '',
    description: 'Redis or Valkey URL (AOF on, `noeviction`). Empty: an embedded server in the data folder.',
  }),
  PULUMI_BACKEND_URL: Type.String({
    default: '',
    description:
      'Pulumi state backend for stacks that name none; each tenant gets its own sub-folder. Empty: `file://` in the data folder.',
  }),
  PLUMBLINE_PULUMI: Type.String({
    default: '',
    description: 'Path of the pulumi binary. Empty: PATH, then the toolchain cache.',
  }),
  PLUMBLINE_TOOLCHAIN: Type.String({
    default: '',
    description: 'Folder the toolchain is cached in. Empty: `.plumbline` beside package.json.',
  }),
  PLUMBLINE_LISTEN_HOST: Type.String({ default: '127.0.0.1', description: 'Address the service listens on.' }),
  PLUMBLINE_LISTEN_PORT: Type.Integer({
    minimum: 0,
    maximum: 65_535,
    default: 7420,
    description: 'Port of the service; 0 picks a free one.',
  }),
  PLUMBLINE_WORKER_TENANT: Type.String({
    default: 'default',
    description:
      'The tenant this worker serves. Several, comma-separated, only with PLUMBLINE_ISOLATION=namespaces and PLUMBLINE_NETWORK=filtered.',
  }),
  PLUMBLINE_NETWORK: Type.Unsafe<'host' | 'filtered'>({
    type: 'string',
    enum: ['host', 'filtered'],
    default: 'host',
    description:
      'Network of runs. `host`: that of the worker, with everything it can reach. `filtered`: a namespace of their own, out of which leads a proxy with an allow-list. See docs/isolation.md.',
  }),
  PLUMBLINE_EGRESS_ALLOW: Type.String({
    default: '',
    description: 'Comma-separated `host[:port]` or `*.example.com[:port]` that every filtered run may reach.',
  }),
  PLUMBLINE_RUN_MEMORY_MB: positive('Memory of all processes of a run together, in MiB.', 4096),
  PLUMBLINE_RUN_PROCESSES: positive('Processes of a run at once.', 1024),
  PLUMBLINE_RUN_FILE_MB: positive('Largest file a run may write, in MiB.', 2048),
  PLUMBLINE_PUBLIC_URL: Type.String({
    default: '',
    description: 'URL under which clouds reach the service (issuer of identity tokens). Empty: no tokens are minted.',
  }),
  PLUMBLINE_SERVICE_URL: Type.String({
    default: '',
    description:
      'URL under which a worker reaches the service, for identity tokens. Empty: `http://PLUMBLINE_LISTEN_HOST:PLUMBLINE_LISTEN_PORT`.',
  }),
  PLUMBLINE_OIDC_KEYS: Type.String({
    default: '',
    description:
      'Folder of the keys that sign identity tokens, or `awskms://…` of one. Empty: `oidc-keys` beside the master key.',
  }),
  PLUMBLINE_SECRET_FILES: Type.String({
    default: '',
    description: 'Folder that Secrets with `external.store: file` may read, one sub-folder a tenant. Empty: none.',
  }),
  PLUMBLINE_SECRET_VARIABLES: Type.String({
    default: '',
    description:
      'Prefix of the variables of the worker that Secrets with `external.store: environment` may read, followed by the tenant in capitals and `_`. Empty: none.',
  }),
  PLUMBLINE_WORKER_CONCURRENCY: positive('Stacks a worker reconciles at once.', 2),
  PLUMBLINE_DRIFT_CONCURRENCY: positive('Drift checks a worker makes at once, apart from real runs.', 1),
  PLUMBLINE_ISOLATION: Type.Unsafe<'namespaces' | 'none'>({
    type: 'string',
    enum: ['namespaces', 'none'],
    default: 'namespaces',
    description:
      'How runs are isolated. `namespaces` (Linux): own PID, mount, UTS and IPC namespaces; a worker that cannot make them refuses to start. `none`: process groups only, a dead worker is never proved dead.',
  }),
  PLUMBLINE_LEASE_SECONDS: positive(
    'Seconds a lease lasts without renewal; the guardian kills a run before it ends.',
    30,
  ),
  PLUMBLINE_SWEEP_SECONDS: positive('Seconds between two sweeps for stacks that are due.', 5),
  PLUMBLINE_PLAIN_HTTP_REGISTRIES: Type.String({
    default: '',
    description: 'Comma-separated `host:port` of registries that may be reached by plain HTTP.',
  }),
  PLUMBLINE_REGISTRIES_FILE: Type.String({
    default: '',
    description:
      'YAML or JSON file with mirrors, certificates, proxies and timeouts by registry; read at start. See docs/registries.md.',
  }),
  PLUMBLINE_ALLOWED_REGISTRIES: Type.String({
    default: '',
    description:
      'Comma-separated registries a Stack may name: `host[:port]`, or `*.example.com` for hosts below it. Empty: any.',
  }),
  PLUMBLINE_DOCKER_CONFIG: Type.String({
    default: '',
    description:
      'File `config.json` of docker with credentials for mirrors and for registries whose Stack names no secret. Empty: none.',
  }),
  PLUMBLINE_CREDENTIAL_HELPERS: Type.Unsafe<'on' | 'off'>({
    type: 'string',
    enum: ['on', 'off'],
    default: 'off',
    description: 'Whether `docker-credential-*` programs that a docker configuration names are run.',
  }),
  HTTPS_PROXY: Type.String({
    default: '',
    description: 'Proxy for registries reached by HTTPS, `http://[user:password@]host:port`; `https_proxy` counts too.',
  }),
  HTTP_PROXY: Type.String({
    default: '',
    description: 'Proxy for registries reached by plain HTTP; `http_proxy` counts too.',
  }),
  NO_PROXY: Type.String({
    default: '',
    description:
      'Comma-separated hosts reached without a proxy: a host with everything below it, `host:port`, or `*`; `no_proxy` counts too.',
  }),
  PLUMBLINE_SIGSTORE_TRUSTED_ROOT: Type.String({
    default: '',
    description:
      'File `trusted_root.json` of the Sigstore whose identities count where a policy names none of its own.',
  }),
  PLUMBLINE_SIGSTORE_TUF: Type.String({
    default: '',
    description:
      'URL of a Sigstore TUF repository the trusted root is kept fresh from. Empty: nothing is fetched (offline).',
  }),
  PLUMBLINE_MAX_ARTIFACT_MB: positive('Compressed bytes of all layers of an artifact, in MiB.', 256),
  PLUMBLINE_MAX_UNPACKED_MB: positive('Unpacked bytes of an artifact, in MiB.', 1024),
  PLUMBLINE_ARTIFACT_CACHE_MB: positive('Unpacked artifacts kept, in MiB; the least recently used go first.', 5120),
  PLUMBLINE_BLOB_CACHE_MB: positive('Layers kept as they came from registries, in MiB.', 2048),
  PLUMBLINE_MAX_ENTRIES: positive('Files and folders of an unpacked artifact.', 100_000),
  PLUMBLINE_MAX_OUTPUT_KB: positive('Output of one run that is kept, in KiB.', 512),
  PLUMBLINE_NPM_USERCONFIG: Type.String({
    default: '',
    description: 'npm configuration file used to install program dependencies.',
  }),
  PLUMBLINE_LOG_LEVEL: Type.Unsafe<'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal'>({
    type: 'string',
    enum: ['trace', 'debug', 'info', 'warn', 'error', 'fatal'],
    default: 'info',
    description: 'Least level that is logged.',
  }),
});

/** Variables that other programs know too, and that are written in small letters as often. */
const PROXIES: ReadonlySet<string> = new Set(['HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY']);

type RawConfig = Static<typeof ConfigSchema>;

/** Settings with every default filled in; paths are absolute. */
export interface Config extends RawConfig {
  dataDir: string;
  cacheDir: string;
  keyFile: string;
  /** Folder of the keys of identity tokens, or `awskms://…`. */
  oidcKeys: string;
  plainHttpRegistries: string[];
}

/** Whether PLUMBLINE_OIDC_KEYS names a key of AWS KMS instead of a folder. */
export function isKms(oidcKeys: string): boolean {
  return oidcKeys.startsWith('awskms:');
}

/** A setting that is wrong; the message alone tells what to do, a stack trace would bury it. */
export class ConfigError extends Error {}

/**
 * Reads and checks the environment.
 * @throws ConfigError naming the variable, what is wrong with it and what it takes.
 */
export function loadConfig(env: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(
    Object.keys(ConfigSchema.properties).flatMap((key) => {
      const text = env[key] ?? (PROXIES.has(key) ? env[key.toLowerCase()] : undefined);
      return text === undefined ? [] : [[key, text]];
    }),
  );
  const value: unknown = Value.Convert(ConfigSchema, Value.Default(ConfigSchema, given));
  if (!Value.Check(ConfigSchema, value)) {
    const [first] = Value.Errors(ConfigSchema, value);
    const name = first?.instancePath.slice(1) ?? 'environment';
    throw new ConfigError(`${name} ${first?.message ?? 'is not valid'}; see docs/configuration.md`);
  }
  const home = homedir();
  const state = env['XDG_STATE_HOME'] || join(home, '.local', 'state');
  const settings = env['XDG_CONFIG_HOME'] || join(home, '.config');
  const dataDir = value.PLUMBLINE_DATA || join(state, 'plumbline');
  const keyFile = value.PLUMBLINE_KEY_FILE || join(settings, 'plumbline', 'master.key');
  return {
    ...value,
    dataDir,
    cacheDir: value.PLUMBLINE_CACHE || join(dataDir, 'cache'),
    keyFile,
    oidcKeys: value.PLUMBLINE_OIDC_KEYS || join(dirname(keyFile), 'oidc-keys'),
    plainHttpRegistries: value.PLUMBLINE_PLAIN_HTTP_REGISTRIES.split(',').filter((host) => host !== ''),
  };
}
