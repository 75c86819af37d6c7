import type { StateSecrets } from '#core/engine/port.ts';
import { newEncryptionSalt } from '#core/engine/settings.ts';
import { newPassphrase, open, seal } from '#core/secrets.ts';
import { patchStack, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';

/** What opens the secrets of a stack's state. */
export interface StackSecrets {
  /** Empty where another provider encrypts. */
  passphrase: string;
  settings: StateSecrets;
  /** What an approval is bound to. */
  bound: string;
}

/** The passphrase and salt of the stack's secrets; made once, sealed in our database, never changed by a run. */
export async function stackSecrets(deps: WorkerDeps, stack: StackRow): Promise<StackSecrets> {
  const context = `passphrase/${stack.tenant}/${stack.id}`;
  const { encryptionSalt } = stack.settings;
  if (stack.passphrase !== null && encryptionSalt !== undefined) {
    const passphrase = open(deps.masterKey, stack.passphrase, context).toString('utf8');
    deps.scrubber.register(passphrase);
    return { passphrase, settings: { encryptionSalt }, bound: encryptionSalt };
  }
  const passphrase = newPassphrase();
  deps.scrubber.register(passphrase);
  const settings = { encryptionSalt: await newEncryptionSalt(passphrase) };
  await patchStack(deps.db, stack.id, {
    passphrase: seal(deps.masterKey, Buffer.from(passphrase), context),
    settings: JSON.stringify(settings),
  });
  return { passphrase, settings, bound: settings.encryptionSalt };
}
