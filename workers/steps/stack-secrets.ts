import { stalled } from '#core/domain/errors.ts';
import { digestOf } from '#core/domain/plan.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { ConfigValue, EngineRequest, StateSecrets } from '#core/engine/port.ts';
import { configKey, configText, newEncryptionSalt, opensSalt } from '#core/engine/settings.ts';
import { sealContext } from '#core/seal-context.ts';
import { hmacValue, newPassphrase, open, seal, type TenantKey } from '#core/secrets.ts';
import type { SecretsProviderRecord } from '#core/store/schema.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import { record } from '../record.ts';
import { readSecretKey } from '../secrets.ts';

/** What opens the secrets of a stack's state. */
export interface StackSecrets {
  /** Empty where another provider encrypts and the state was never encrypted with a passphrase. */
  passphrase: string;
  settings: StateSecrets;
  /** What an approval is bound to. */
  bound: string;
}

interface Scene {
  deps: WorkerDeps;
  lease: HeldLease;
  stack: StackRow;
  spec: StackSpec;
  /** Everything but the secrets of the state, for asking the state and its provider. */
  request: EngineRequest;
  key: TenantKey;
}

const PASSPHRASE = 'passphrase';

/** What the stack's secrets are encrypted with since its last plan; undefined before the first. */
function providerNow(stack: StackRow): string | undefined {
  return stack.secrets_provider.url ?? (stack.settings.encryptionSalt === undefined ? undefined : PASSPHRASE);
}

/**
 * Who holds the key of a state is a part of its identity: another one would leave secrets behind that nobody here opens.
 * @throws stalled(IdentityChanged)
 */
function refuseChange({ stack }: Scene, wanted: string): void {
  const now = providerNow(stack);
  if (stack.identity === null || stack.rebind_by !== null || now === undefined || now === wanted) return;
  throw stalled(
    'IdentityChanged',
    `spec.pulumi.secretsProvider of ${stack.name} was ${now} and is now ${wanted}: the secrets of its state are encrypted with the former. Restore it, or let it change with \`plumb rebind ${stack.name}\``,
  );
}

interface Passphrase {
  passphrase: string;
  encryptionSalt: string;
}

function storedPassphrase({ deps, stack }: Scene): Passphrase | undefined {
  const { encryptionSalt } = stack.settings;
  if (stack.passphrase === null || encryptionSalt === undefined) return undefined;
  const passphrase = open(deps.masterKey, stack.passphrase, sealContext.passphrase(stack)).toString('utf8');
  deps.scrubber.register(passphrase);
  return { passphrase, encryptionSalt };
}

/** Under the lease: a worker that lost it would put another key in the place of the one the state is encrypted with by now. */
async function keepPassphrase(
  { deps, lease, stack }: Scene,
  { passphrase, encryptionSalt }: Passphrase,
): Promise<void> {
  const change = {
    passphrase: seal(deps.masterKey, Buffer.from(passphrase), sealContext.passphrase(stack)),
    settings: JSON.stringify({ ...stack.settings, encryptionSalt }),
  };
  await record(deps, lease, { stack: change });
}

/**
 * The salt of a state that was there before us, so that its passphrase is known to be right before the engine is asked.
 * @throws stalled(SecretsProviderFailed) when the passphrase is another one
 */
async function saltFor(scene: Scene, passphrase: string, from: string): Promise<string> {
  const found = await scene.deps.engine.stateProvider(scene.request);
  if (found?.type !== 'passphrase') return newEncryptionSalt(passphrase);
  if (await opensSalt(passphrase, found.salt)) return found.salt;
  throw stalled(
    'SecretsProviderFailed',
    `${from} is not the passphrase the state of ${scene.stack.name} is encrypted with; apply the Secret with the right one. Nothing was changed`,
  );
}

/** The passphrase and salt of the stack's secrets: the spec's, or one of our own that is made once; sealed in our database. */
async function passphraseOf(scene: Scene): Promise<Passphrase> {
  const { deps, stack, spec } = scene;
  const stored = storedPassphrase(scene);
  const ref = spec.pulumi.passphrase;
  if (ref === undefined && stored !== undefined) return stored;
  const from = `key ${ref?.key} of secret ${ref?.secret}`;
  const passphrase = ref === undefined ? newPassphrase() : (await readSecretKey(deps, stack.tenant, ref)).value;
  deps.scrubber.register(passphrase);
  if (stored?.passphrase === passphrase) return stored;
  const encryptionSalt = await (ref === undefined ? newEncryptionSalt(passphrase) : saltFor(scene, passphrase, from));
  await keepPassphrase(scene, { passphrase, encryptionSalt });
  return { passphrase, encryptionSalt };
}

/** The encrypted key a state of the same provider has already; a stack that exists is taken over with it. */
async function knownKey(scene: Scene, url: string): Promise<string | undefined> {
  const { stack, deps, request } = scene;
  if (stack.secrets_provider.url === url) return stack.secrets_provider.encryptedKey;
  const found = await deps.engine.stateProvider(request);
  return found?.type === 'cloud' && found.url === url ? found.encryptedKey : undefined;
}

function secretTexts(config: Record<string, ConfigValue>, project: string): Map<string, string> {
  const secrets = Object.entries(config).filter(([, { secret }]) => secret);
  return new Map(secrets.map(([name, { value }]) => [configKey(project, name), configText(value)]));
}

/**
 * What the provider needs again. It is asked, in a process of the engine's, when it has no key yet or a value is new;
 * otherwise the ciphertexts of before are used.
 */
async function providerRecord(scene: Scene, url: string): Promise<SecretsProviderRecord> {
  const { deps, lease, stack, request, key } = scene;
  const before = stack.secrets_provider.url === url ? (stack.secrets_provider.ciphertexts ?? {}) : {};
  const encryptedKey = await knownKey(scene, url);
  const texts = secretTexts(request.config, request.identity.project);
  const marks = new Map([...texts].map(([name, text]) => [name, hmacValue(key, text)]));
  const fresh = [...texts].filter(([name]) => before[name]?.of !== marks.get(name));
  const isComplete = encryptedKey !== undefined || (url === 'default' && stack.secrets_provider.url === url);
  const settings = { encryptionSalt: '', provider: url, ...(encryptedKey !== undefined && { encryptedKey }) };
  const made =
    fresh.length === 0 && isComplete
      ? { ciphertexts: {} }
      : await deps.engine.encryptConfig({ ...request, settings }, Object.fromEntries(fresh));
  const ciphertexts = Object.fromEntries(
    [...marks].map(([name, of]) => [name, { of, text: made.ciphertexts[name] ?? before[name]?.text ?? '' }]),
  );
  const kept = { url, ...(encryptedKey !== undefined && { encryptedKey }), ...made, ciphertexts };
  if (digestOf(kept) !== digestOf(stack.secrets_provider))
    await record(deps, lease, { stack: { secrets_provider: JSON.stringify(kept) } });
  return kept;
}

/** A state that a passphrase encrypted before (a rebound stack, or one taken over) still needs it until it is written anew. */
async function formerPassphrase(scene: Scene): Promise<string> {
  const { spec, stack, deps } = scene;
  const ref = spec.pulumi.passphrase;
  if (ref !== undefined) return (await readSecretKey(deps, stack.tenant, ref)).value;
  return storedPassphrase(scene)?.passphrase ?? '';
}

/**
 * What encrypts the secrets of the stack's state, and the encrypted config of a run. What is made is kept, and never changed
 * by a run: a plan could not be opened otherwise.
 * @throws stalled(IdentityChanged | SecretsProviderFailed | SecretNotFound), transient(SecretsProviderFailed | SecretStoreFailed)
 */
export async function stackSecrets(scene: Scene): Promise<StackSecrets> {
  const { pulumi } = scene.spec;
  const wanted = pulumi.secretsProvider ?? PASSPHRASE;
  refuseChange(scene, wanted);
  if (wanted === PASSPHRASE) {
    const { passphrase, encryptionSalt } = await passphraseOf(scene);
    if (scene.stack.secrets_provider.url !== undefined)
      await record(scene.deps, scene.lease, { stack: { secrets_provider: JSON.stringify({}) } });
    return { passphrase, settings: { encryptionSalt }, bound: encryptionSalt };
  }
  const { encryptedKey, ciphertexts = {} } = await providerRecord(scene, wanted);
  const texts = Object.fromEntries(Object.entries(ciphertexts).map(([name, { text }]) => [name, text]));
  const settings = { encryptionSalt: '', provider: wanted, ciphertexts: texts };
  return {
    passphrase: await formerPassphrase(scene),
    settings: { ...settings, ...(encryptedKey !== undefined && { encryptedKey }) },
    bound: `${wanted} key ${digestOf(encryptedKey ?? 'none')}`,
  };
}
