import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { stalled } from '../domain/errors.ts';
import { encrypter } from './crypt.ts';
import type { ConfigValue, StateSecrets } from './port.ts';

export { newEncryptionSalt, opensSalt } from './crypt.ts';

/** What goes into the settings file of a stack. */
export interface StackSettings {
  project: string;
  stack: string;
  programDir: string;
  secrets: StateSecrets;
  passphrase: string;
  config: Record<string, ConfigValue>;
}

/** The engine's namespace rule: a key without a colon belongs to the project. */
export function configKey(project: string, key: string): string {
  return key.includes(':') ? key : `${project}:${key}`;
}

function holdsSecure(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return 'secure' in value || Object.values(value).some(holdsSecure);
}

/** Plain config the artifact ships in Pulumi.<stack>.yaml: bound by the artifact's digest, overridden by the Stack's own. */
async function shippedConfig(settings: StackSettings): Promise<Record<string, unknown>> {
  const name = `Pulumi.${settings.stack}.yaml`;
  let text: string;
  try {
    text = await readFile(join(settings.programDir, name), 'utf8');
  } catch {
    return {};
  }
  let document: unknown;
  try {
    document = parse(text, { maxAliasCount: 20 });
  } catch (cause) {
    throw stalled('ProgramInvalid', `${name} in the artifact is not valid YAML; correct or remove it`, cause);
  }
  if (typeof document !== 'object' || document === null || !('config' in document)) return {};
  const { config } = document;
  if (typeof config !== 'object' || config === null) return {};
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [configKey(settings.project, key), value]));
}

function plainValue(key: string, value: unknown): unknown {
  if (holdsSecure(value)) {
    throw stalled(
      'SpecInvalid',
      `config ${key} holds a \`secure\` value, which only its own passphrase opens; name it in spec.pulumi.secrets`,
    );
  }
  return value;
}

/** What turns the text of a secret into what the engine decrypts; a provider has encrypted them already. */
async function sealer({ secrets, passphrase }: StackSettings): Promise<(key: string, text: string) => string> {
  const { provider, ciphertexts = {}, encryptionSalt } = secrets;
  if (provider === undefined) {
    const encrypt = await encrypter(passphrase, encryptionSalt);
    return (_, text) => encrypt(text);
  }
  return (key) => {
    const text = ciphertexts[key];
    if (text === undefined) throw new Error(`${provider} has not encrypted config ${key}`);
    return text;
  };
}

async function mergedConfig(settings: StackSettings): Promise<Record<string, unknown>> {
  const own = Object.entries(settings.config).map(([key, value]): [string, ConfigValue] => [
    configKey(settings.project, key),
    value,
  ]);
  const owned = new Set(own.map(([key]) => key));
  const shipped = Object.entries(await shippedConfig(settings)).filter(([key]) => !owned.has(key));
  const merged = new Map<string, unknown>();
  for (const [key, value] of shipped) merged.set(key, plainValue(key, value));
  const seal = own.some(([, value]) => value.secret) ? await sealer(settings) : undefined;
  for (const [key, { value, secret }] of own) {
    merged.set(key, secret && seal ? { secure: seal(key, configText(value)) } : plainValue(key, value));
  }
  return Object.fromEntries(merged);
}

/** A config value as the engine keeps it: text. */
export function configText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** `default` is the service of Pulumi Cloud, which has no key that would have to be kept. */
function providerSettings({ encryptionSalt, provider, encryptedKey }: StateSecrets): Record<string, string> {
  if (provider === undefined) return { encryptionsalt: encryptionSalt };
  return { secretsprovider: provider, ...(encryptedKey !== undefined && { encryptedkey: encryptedKey }) };
}

/**
 * Writes the settings file (`--config-file`) of a run, mode 0600: secrets are encrypted here, so none ever stands in argv.
 * @throws ReconcileError stalled when the artifact's own settings cannot be used.
 */
export async function writeSettings(path: string, settings: StackSettings): Promise<void> {
  const { environments = [] } = settings.secrets;
  const document = {
    ...providerSettings(settings.secrets),
    ...(environments.length > 0 && { environment: environments }),
    config: await mergedConfig(settings),
  };
  // Quoted strings mean the same in YAML 1.1 and 1.2.
  const text = stringify(document, { defaultStringType: 'QUOTE_DOUBLE', defaultKeyType: 'PLAIN', lineWidth: 0 });
  await writeFile(path, text, { mode: 0o600 });
}
