import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { stalled } from '../domain/errors.ts';
import { isService } from './backends.ts';

/** Of the worker's own variables a run gets only these: where the certificates are that it trusts. */
const CERTIFICATE_VARIABLES = ['SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS'] as const;

/** Names a spec or a credential may not set: they would change what runs, where it looks, or what holds it. */
const RESERVED_NAMES = new Set([
  'PATH',
  'HOME',
  'TMPDIR',
  'NODE_OPTIONS',
  'NODE_PATH',
  'BASH_ENV',
  'ENV',
  'IFS',
  'SHELLOPTS',
]);
const RESERVED_PREFIXES = [
  'PULUMI_',
  'PLUMBLINE_',
  'LD_',
  'DYLD_',
  'GRPC_',
  'NODE_COMPILE_',
  // A file of the artifact would be code of the language host.
  'OPENSSL_',
  'GLIBC_',
  'GCONV_',
  'npm_',
];

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Reference: pulumi.md, section 11. */
const STANDARD: Record<string, string> = {
  PULUMI_SKIP_UPDATE_CHECK: 'true',
  PULUMI_DIY_BACKEND_NO_LEGACY_WARNING: 'true',
  PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: 'true',
  PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL: 'true',
  PULUMI_IGNORE_AMBIENT_PLUGINS: 'true',
  PULUMI_DISABLE_CI_DETECTION: 'true',
  PULUMI_NODEJS_TRANSPILE_ONLY: 'true',
  // The hidden flag `--event-log` exists only with it.
  PULUMI_DEBUG_COMMANDS: 'true',
  PULUMI_AUTOMATION_API: 'true',
};

/** Folders of a run; all lie in its private folder and are deleted with it. */
export interface RunFolders {
  home: string;
  pulumiHome: string;
  temp: string;
}

/** Where a run's HOME, PULUMI_HOME and TMPDIR are; the caller makes them. */
export function runFolders(runDir: string): RunFolders {
  return { home: join(runDir, 'home'), pulumiHome: join(runDir, 'pulumi-home'), temp: join(runDir, 'tmp') };
}

function isReserved(name: string): boolean {
  const upper = name.toUpperCase();
  return RESERVED_NAMES.has(upper) || RESERVED_PREFIXES.some((prefix) => upper.startsWith(prefix.toUpperCase()));
}

/** The credential of Pulumi Cloud: the one variable of the engine's own that a run may be given, and only for such a backend. */
const SERVICE_TOKEN = 'PULUMI_ACCESS_TOKEN';

/**
 * Refuses variables that would break out of the run's environment or change what the engine does.
 * @param backend URL of the state; one of Pulumi Cloud takes its access token from the environment.
 * @throws ReconcileError(stalled, SpecInvalid) naming the variable, never its value.
 */
export function checkEnvironmentNames(environment: Record<string, string>, backend = ''): void {
  for (const [name, value] of Object.entries(environment)) {
    if (!NAME.test(name)) {
      throw stalled(
        'SpecInvalid',
        `environment: ${JSON.stringify(name.slice(0, 64))} is no name of a variable; use letters, digits and _`,
      );
    }
    if (name === SERVICE_TOKEN && !isService(backend)) {
      throw stalled(
        'SpecInvalid',
        `environment: ${SERVICE_TOKEN} is for a backend of Pulumi Cloud (https), and this stack has another; remove it from the credential`,
      );
    }
    if (name !== SERVICE_TOKEN && isReserved(name))
      throw stalled(
        'SpecInvalid',
        `environment: ${name} is set by Plumbline; remove it from the spec or the credential`,
      );
    if (value.includes('\0')) throw stalled('SpecInvalid', `environment: the value of ${name} holds a NUL byte`);
  }
}

export interface EnvironmentInput {
  runDir: string;
  /** Absolute path of the engine; language hosts and launchers lie beside it. */
  engine: string;
  /** Absolute path of Node.js. */
  node: string;
  backendUrl: string;
  passphrase: string;
  /** The spec's environment, and over it the credentials of the phase. */
  environment: Record<string, string>;
  /** The worker's environment; only the certificate variables are read. */
  own: Record<string, string | undefined>;
}

/**
 * The whole environment of a run, built from nothing (design, rule 6).
 * @throws ReconcileError(stalled, SpecInvalid); see `checkEnvironmentNames`.
 */
export function buildEnvironment(input: EnvironmentInput): Record<string, string> {
  checkEnvironmentNames(input.environment, input.backendUrl);
  const folders = runFolders(input.runDir);
  return {
    LANG: 'C.UTF-8',
    TZ: 'UTC',
    ...certificateVariables(input.own),
    ...input.environment,
    ...STANDARD,
    PATH: [dirname(input.engine), dirname(input.node), '/usr/bin', '/bin'].join(':'),
    HOME: folders.home,
    TMPDIR: folders.temp,
    PULUMI_HOME: folders.pulumiHome,
    PULUMI_BACKEND_URL: input.backendUrl,
    PULUMI_CONFIG_PASSPHRASE: input.passphrase,
  };
}

/** The certificate variables that are set. */
export function certificateVariables(environment: Record<string, string | undefined>): Record<string, string> {
  const set = CERTIFICATE_VARIABLES.flatMap((name) => {
    const value = environment[name];
    return value === undefined || value === '' ? [] : [[name, value] as const];
  });
  return Object.fromEntries(set);
}

/** Files and folders the certificate variables name, to be shown to a run read-only. */
export function certificatePaths(environment: Record<string, string | undefined>): string[] {
  return CERTIFICATE_VARIABLES.flatMap((name) => environment[name]?.split(':') ?? []).filter(
    (path) => isAbsolute(path) && existsSync(path),
  );
}
