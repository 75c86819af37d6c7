/**
 * What the engine must know and a program must not: the passphrase opens every secret of the state, the backend URL may hold
 * credentials, and the gate is ours alone (design, Engine).
 */
export const PRIVATE_VARIABLES: ReadonlySet<string> = new Set([
  'PULUMI_CONFIG_PASSPHRASE',
  'PULUMI_CONFIG_PASSPHRASE_FILE',
  'PULUMI_BACKEND_URL',
  'PULUMI_ACCESS_TOKEN',
]);

/** True for a variable that neither a program nor a plugin may see. */
export function isPrivate(name: string): boolean {
  return PRIVATE_VARIABLES.has(name) || name.startsWith('PLUMBLINE_');
}

/** The environment of a program or a dynamic provider: the engine's own, without what is private to the engine and to us. */
export function programEnvironment(engine: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(engine).flatMap(([key, value]) => (value === undefined || isPrivate(key) ? [] : [[key, value]])),
  );
}

/** All a policy pack gets of a run: where things are, and how to reach them. No credential of the run is its business. */
const PACK_VARIABLES: ReadonlySet<string> = new Set([
  'LANG', 'TZ', 'PATH', 'HOME', 'TMPDIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS',
  'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy', 'PULUMI_HOME', 'PULUMI_CONFIG',
  'PULUMI_ORGANIZATION', 'PULUMI_PROJECT', 'PULUMI_STACK', 'PULUMI_DRY_RUN', 'PULUMI_NODEJS_ORGANIZATION',
  'PULUMI_NODEJS_PROJECT', 'PULUMI_NODEJS_STACK', 'PULUMI_NODEJS_DRY_RUN',
]); // prettier-ignore

/** The SDK's TypeScript would keep what it compiled where the program of the run can write, and run it from there. */
const PACK_SETTINGS = { TS_NODE_CACHE: 'false' } as const;

/** The environment of a policy pack, from the `NAME=value` list the engine gives; a program can ask for a pack as well. */
export function packEnvironment(list: readonly string[]): Record<string, string> {
  const pairs = list.map((entry): [string, string] => {
    const at = entry.indexOf('=');
    return [entry.slice(0, Math.max(0, at)), entry.slice(at + 1)];
  });
  return { ...Object.fromEntries(pairs.filter(([name]) => PACK_VARIABLES.has(name))), ...PACK_SETTINGS };
}
