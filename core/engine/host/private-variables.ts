/**
 * What the engine must know and a program must not: the passphrase opens every secret of the state, the backend URL may hold
 * credentials, and the gate is ours alone (design, Engine).
 */
const PRIVATE_VARIABLES: ReadonlySet<string> = new Set([
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
