import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { CreateSecretCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { EngineRequest, StateSecrets } from '#core/engine/port.ts';
import { createSecretStores } from '#core/secret-stores/stores.ts';
import { startMoto, type Moto } from '../../toolchain/moto.ts';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

const CANARY = 'canary-"in the config"';
const REGION = 'eu-central-1';

let fixture: EngineFixture;
let moto: Moto;
let keyUrl: string;
const servers: Server[] = [];

beforeAll(async () => {
  [fixture, moto] = await Promise.all([
    openEngineFixture(undefined, { secretsProviderMs: 20_000 }),
    startMoto(inject('toolchainDir')),
  ]);
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
  const kms = new KMSClient({ endpoint: moto.origin, region: REGION, credentials });
  const { KeyMetadata } = await kms.send(new CreateKeyCommand({}));
  kms.destroy();
  keyUrl = `awskms://${KeyMetadata?.KeyId}?region=${REGION}`;
}, 120_000);
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await moto.stop();
  await fixture.close();
});

function aws(endpoint: string): Record<string, string> {
  return { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b', AWS_ENDPOINT_URL: endpoint };
}

function asked(settings: Partial<StateSecrets>, environment: Record<string, string>): Promise<EngineRequest> {
  const config = { files: { a: 'one' }, secret: CANARY };
  return fixture.request(config, {
    settings: { encryptionSalt: '', ...settings },
    passphrase: '',
    environment: { ...environment, FILES_DIR: fixture.filesDir },
  });
}

async function listen(server: Server): Promise<string> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return `http://127.0.0.1:${address === null || typeof address === 'string' ? 0 : address.port}`;
}

/** Collects the arguments of every process of the machine that hold a text. */
function watchArguments(text: string): { stop(): { seen: string[]; looks: number } } {
  const seen: string[] = [];
  let looks = 0;
  const timer = setInterval(() => {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        const line = readFileSync(`/proc/${name}/cmdline`, 'latin1');
        if (line.includes('config\0set-all')) looks += 1;
        if (line.includes(text)) seen.push(line);
      } catch {
        // It ended meanwhile.
      }
    }
  }, 25);
  return {
    stop: () => {
      clearInterval(timer);
      return { seen, looks };
    },
  };
}

/** The transit engine of Vault, as far as the engine uses it: one key, ciphertext `vault:v1:…`. */
function transit(token: string): Server {
  const key = randomBytes(32);
  const encrypt = (plaintext: string) => {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    const body = Buffer.concat([cipher.update(Buffer.from(plaintext, 'base64')), cipher.final(), cipher.getAuthTag()]);
    return { ciphertext: `vault:v1:${Buffer.concat([nonce, body]).toString('base64')}` };
  };
  const decrypt = (ciphertext: string) => {
    const bytes = Buffer.from(ciphertext.replace('vault:v1:', ''), 'base64');
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(-16));
    const text = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
    return { plaintext: text.toString('base64') };
  };
  return createServer((request, response) => {
    let text = '';
    request.on('data', (piece: Buffer) => (text += piece.toString()));
    request.on('end', () => {
      const answer = (status: number, body: unknown) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
      };
      if (request.headers['x-vault-token'] !== token) return answer(403, { errors: ['permission denied'] });
      const body: Record<string, string> = JSON.parse(text);
      if (request.url === '/v1/transit/encrypt/shop') return answer(200, { data: encrypt(body['plaintext'] ?? '') });
      if (request.url === '/v1/transit/decrypt/shop') return answer(200, { data: decrypt(body['ciphertext'] ?? '') });
      return answer(404, { errors: [] });
    });
  });
}

async function stateText(): Promise<string> {
  return await readFile(join(fixture.stateDir, '.pulumi/stacks/files/test.json'), 'utf8');
}

describe('AWS KMS', () => {
  let settings: StateSecrets;

  it('makes a key and encrypts config with it, and no value stands in the arguments of any process', async () => {
    const request = await asked({ provider: keyUrl }, aws(moto.origin));
    const watch = watchArguments('canary-');
    const made = await fixture.engine.encryptConfig(request, { 'files:secret': CANARY });
    const { seen, looks } = watch.stop();
    expect(seen).toEqual([]);
    expect(looks).toBeGreaterThan(0);
    expect(made.ciphertexts['files:secret']).toMatch(/^v1:/);
    settings = { encryptionSalt: '', provider: keyUrl, ...made };
    const again = await fixture.engine.encryptConfig({ ...request, settings }, { 'files:secret': CANARY });
    expect(again.encryptedKey).toBe(made.encryptedKey);
    expect(again.ciphertexts).not.toEqual(made.ciphertexts);
  });

  it('opens what is applied and planned with what was made once, and the state names it', async () => {
    const request = await asked(settings, aws(moto.origin));
    const { plan } = await fixture.engine.preview(request);
    expect(plan.toString()).not.toContain('canary');
    await fixture.engine.apply({ ...request, plan, gate: async () => [] });
    expect((await fixture.files())['secret']).toBe(CANARY);
    expect(await stateText()).not.toContain('canary');
    const { encryptedKey } = settings;
    const wanted = { type: 'cloud', url: keyUrl, encryptedKey };
    expect(await fixture.engine.stateProvider(request)).toEqual(wanted);
    expect(await fixture.engine.preview(await asked(settings, aws(moto.origin)))).toMatchObject({ changes: [] });
  });

  it.each(['away', 'silent'])('that is %s is waited for a while, and nothing is changed or lost', async (how) => {
    const before = await stateText();
    const silent = await listen(createServer(() => undefined));
    const endpoint = how === 'away' ? 'http://127.0.0.1:9' : silent;
    const slow = await openEngineFixture(undefined, { secretsProviderMs: 2_000 });
    try {
      const request = await asked(settings, aws(endpoint));
      const engine = how === 'away' ? fixture.engine : slow.engine;
      const why = how === 'away' ? 'connection refused' : 'no answer within 2 s';
      const failed = { kind: 'transient', reason: 'SecretsProviderFailed', message: expect.stringContaining(why) };
      await expect(engine.preview(request)).rejects.toMatchObject(failed);
      await expect(engine.encryptConfig(request, {})).rejects.toMatchObject(failed);
    } finally {
      await slow.close();
    }
    expect(await stateText()).toBe(before);
  });

  it('that knows no such key says so', async () => {
    const request = await asked({ provider: `awskms://none?region=${REGION}` }, aws(moto.origin));
    const failed = fixture.engine.encryptConfig(request, {});
    await expect(failed).rejects.toMatchObject({ message: expect.stringContaining('Invalid keyId none') });
  });
});

it('AWS Secrets Manager gives a secret, one of its versions, and says when there is none', async () => {
  const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
  const manager = new SecretsManagerClient({ endpoint: moto.origin, region: REGION, credentials });
  await manager.send(new CreateSecretCommand({ Name: 'shop/db', SecretString: '{"password":"first"}' }));
  await manager.send(new PutSecretValueCommand({ SecretId: 'shop/db', SecretString: '{"password":"second"}' }));
  manager.destroy();
  const stores = createSecretStores({ files: '', variables: '', tenants: ['shop'], environment: {} });
  const read = (external: { path: string; version?: string }) =>
    stores({
      tenant: 'shop',
      name: 'db',
      external: { store: 'aws-secrets-manager', region: REGION, address: moto.origin, ...external },
      credentials: { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' },
      signal: AbortSignal.timeout(20_000),
      register: () => undefined,
    });
  expect(await read({ path: 'shop/db' })).toEqual({ password: 'second' });
  expect(await read({ path: 'shop/db', version: 'AWSPREVIOUS' })).toEqual({ password: 'first' });
  await expect(read({ path: 'shop/none' })).rejects.toMatchObject({ reason: 'SecretNotFound' });
});

describe('the other providers', () => {
  it('Vault encrypts by its transit engine, and a token it does not know is told apart', async () => {
    const origin = await listen(transit('v-token'));
    const vault = (token: string) => ({ VAULT_SERVER_URL: origin, VAULT_SERVER_TOKEN: token });
    const provider = 'hashivault://shop';
    const made = await fixture.engine.encryptConfig(await asked({ provider }, vault('v-token')), { 'a:b': 'x' });
    expect(Buffer.from(made.encryptedKey ?? '', 'base64').toString()).toMatch(/^vault:v1:/);
    const settings = { provider, ...(made.encryptedKey !== undefined && { encryptedKey: made.encryptedKey }) };
    const again = await fixture.engine.encryptConfig(await asked(settings, vault('v-token')), { 'a:b': 'x' });
    expect(again.encryptedKey).toBe(made.encryptedKey);
    const refused = fixture.engine.encryptConfig(await asked(settings, vault('other')), {});
    await expect(refused).rejects.toMatchObject({
      reason: 'SecretsProviderFailed',
      message: expect.stringContaining('permission denied'),
    });
  });

  it.each([
    ['gcpkms://projects/p/locations/l/keyRings/k/cryptoKeys/c', {}, 'google credentials'],
    ['azurekeyvault://127.0.0.1:9/keys/k', { AZURE_TENANT_ID: 't' }, 'must match'],
  ])('%s is asked, and what it says is shown', async (provider, environment, why) => {
    const failed = fixture.engine.encryptConfig(await asked({ provider }, environment), { 'a:b': 'x' });
    await expect(failed).rejects.toMatchObject({
      reason: 'SecretsProviderFailed',
      message: expect.stringMatching(why),
    });
  });
});
