import { afterEach, beforeEach, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { newEncryptionSalt } from '#core/engine/settings.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

const KMS = 'awskms://first?region=eu-central-1';

let plumbline: TestPlumbline;
beforeEach(async () => void (plumbline = await startTestPlumbline()));
afterEach(() => plumbline.close());

async function stack(pulumi: Record<string, unknown>): Promise<void> {
  await plumbline.stack('shop', { pulumi: { stack: 'prod', ...pulumi } });
}

async function record() {
  const row = await plumbline.database.db.selectFrom('stacks').selectAll().executeTakeFirstOrThrow();
  return row.secrets_provider;
}

it('another provider is refused after the first apply, and asked for nothing that it has encrypted before', async () => {
  await plumbline.secret('db', { password: 'hunter22' });
  const secrets = { password: { secret: 'db', key: 'password' } };
  await stack({ secretsProvider: KMS, secrets });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.applied('shop');
  // Once for the plan; the apply and its gate used what was made.
  expect(plumbline.engine.calls.encryptConfig).toBe(1);
  const made = await record();
  expect(made).toMatchObject({ url: KMS, encryptedKey: `key-of-${KMS}` });
  expect(JSON.stringify(made)).not.toContain('hunter22');
  const run = await plumbline.run('shop', 1);
  expect(run.plan?.bound['settings']).toMatch(/^awskms:\/\/first\?region=eu-central-1 key sha256:/);

  // A value that is new costs a process; the key stays.
  await plumbline.secret('db', { password: 'hunter23' });
  await plumbline.push({ resources: { web: { size: 2 } } });
  await plumbline.untilRun('shop', ['awaiting_approval'], 1);
  expect((await record()).encryptedKey).toBe(made.encryptedKey);
  expect((await record()).ciphertexts).not.toEqual(made.ciphertexts);

  for (const other of ['awskms://second', 'passphrase']) {
    await stack({ secretsProvider: other, secrets });
    const condition = await plumbline.untilCondition('shop', 'Stalled', 'IdentityChanged');
    expect(condition.message).toContain(`was ${KMS} and is now`);
    expect(condition.message).toContain('plumb rebind shop');
  }
  expect((await record()).url).toBe(KMS);
});

it('a provider that does not answer is asked again, and a plan waits for it', async () => {
  let isAway = true;
  plumbline.engine.hooks.encryptConfig = async () => {
    if (isAway) throw transient('SecretsProviderFailed', 'the KMS is away');
  };
  await stack({ secretsProvider: KMS });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const failed = await plumbline.untilRun('shop', ['errored']);
  expect(failed).toMatchObject({ reason: 'SecretsProviderFailed' });
  expect(plumbline.engine.state.size).toBe(0);
  isAway = false;
  await plumbline.untilRun('shop', ['awaiting_approval'], failed.number);
});

it('the passphrase of a state that was there before must be the right one, and its salt is kept', async () => {
  const salt = await newEncryptionSalt('of before us');
  plumbline.engine.encryptedWith = { type: 'passphrase', salt };
  await plumbline.secret('state', { passphrase: 'a guess' });
  await stack({ passphrase: { secret: 'state', key: 'passphrase' } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const condition = await plumbline.untilCondition('shop', 'Stalled', 'SecretsProviderFailed');
  expect(condition.message).toContain('key passphrase of secret state is not the passphrase');
  expect(condition.message).not.toContain('a guess');
  await plumbline.secret('state', { passphrase: 'of before us' });
  const run = await plumbline.untilRun('shop', ['awaiting_approval']);
  expect((await plumbline.run('shop', run.number)).plan?.bound['settings']).toBe(salt);
});
