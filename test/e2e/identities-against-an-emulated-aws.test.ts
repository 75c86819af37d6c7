import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateKeyCommand, KMSClient, type CreateKeyCommandInput } from '@aws-sdk/client-kms';
import { defaultProvider } from '@aws-sdk/credential-provider-node';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { callerIdentity } from '#core/identity/aws-sts.ts';
import { loginVariables } from '#core/identity/login-variables.ts';
import { createRunClouds } from '#core/identity/run-clouds.ts';
import { createIssuer } from '../../service/oidc/issuer.ts';
import { openKmsKeys } from '../../service/oidc/kms-keys.ts';
import { startMoto, type Moto } from '../../toolchain/moto.ts';

const ROLE = 'arn:aws:iam::210987654321:role/team/ops';
const ISSUER = 'https://plumb.example.com';
const REGION = 'eu-west-1';
/** As AWS makes them; the emulator takes any. */
const BASE = { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE', AWS_SECRET_ACCESS_KEY: 'base-keys-of-the-secret' };

let moto: Moto;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plumbline-identities-'));
  moto = await startMoto(inject('toolchainDir'));
});
afterAll(async () => {
  await moto?.stop();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const soon = () => AbortSignal.timeout(30_000);
const whoIs = (keys: { accessKeyId: string; secretAccessKey: string; sessionToken?: string | undefined }) =>
  callerIdentity(keys, { region: REGION, endpoint: moto.origin, signal: soon(), what: 'the run' });

describe('an assumed role', () => {
  it('is a session of its own, with nothing of the keys it is made by', async () => {
    const clouds = createRunClouds({ stsEndpoint: moto.origin });
    const keys = { accessKeyId: BASE.AWS_ACCESS_KEY_ID, secretAccessKey: BASE.AWS_SECRET_ACCESS_KEY };
    const wish = {
      role: ROLE,
      externalId: 'of-plumbline',
      sessionName: 'plumbline-shop-prod-7-apply',
      lifeMs: 3_900_000,
      strict: false,
      what: 'secret base',
    };
    const role = await clouds.assumeRole(keys, REGION, wish, soon());
    expect(Object.values(role.keys)).not.toContain(BASE.AWS_SECRET_ACCESS_KEY);
    expect(role.note).toBeUndefined();
    expect(role.expiresAt.getTime() - Date.now()).toBeGreaterThan(3_600_000);
    // The session is told apart in the audit log of the cloud, and left out of who it is.
    expect(await whoIs(role.keys)).toEqual({
      account: '210987654321',
      arn: expect.stringMatching(/:assumed-role\/(team\/)?ops$/),
    });
  });

  it('is bound by its ARN, and static keys by what AWS says of them', async () => {
    const clouds = createRunClouds({ stsEndpoint: moto.origin });
    const question = { what: 'secret base', signal: soon() };
    const environment = { AWS_REGION: REGION };
    const source = { secret: 'base', assumeRole: { role: ROLE } };
    expect(await clouds.principal({ source, data: BASE, environment }, question)).toBe(
      `aws 210987654321 ${ROLE} ${REGION}`,
    );
    expect(await clouds.principal({ source: 'base', data: BASE, environment }, question)).toBe(
      `aws 123456789012 arn:aws:sts::123456789012:user/moto ${REGION}`,
    );
  });
});

describe('a token in a file', () => {
  it('makes the SDK of a program the role, by the variables of the run alone', async () => {
    const tokenFile = join(folder, 'token');
    await writeFile(tokenFile, 'a.token.of-the-run');
    const login = { aws: { role: ROLE, region: REGION } };
    const { environment } = loginVariables(login, {
      tokenFile,
      googleFile: '',
      sessionName: 'plumbline-shop-prod-7-plan',
    });
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE']) vi.stubEnv(name, undefined);
    vi.stubEnv('AWS_CONFIG_FILE', '/dev/null');
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null');
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    const keys = await defaultProvider({ clientConfig: { region: REGION, endpoint: moto.origin } })();
    expect(await whoIs(keys)).toMatchObject({ account: '210987654321' });
  });
});

describe('keys in KMS', () => {
  async function makeKey(input: CreateKeyCommandInput): Promise<string> {
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIAEXAMPLE');
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'of-the-service');
    const client = new KMSClient({ region: REGION, endpoint: moto.origin });
    const { KeyMetadata } = await client.send(new CreateKeyCommand(input));
    client.destroy();
    return `awskms://${KeyMetadata?.KeyId}?region=${REGION}&endpoint=${moto.origin}`;
  }
  const signing: CreateKeyCommandInput = { KeySpec: 'RSA_2048', KeyUsage: 'SIGN_VERIFY' };

  it('sign what the published keys verify, and follow one another without a gap', async () => {
    const now = Date.now();
    const [old, fresh] = [await makeKey(signing), await makeKey(signing)];
    const from = new Date(now + 86_400_000);
    const issuer = createIssuer(ISSUER, await openKmsKeys(`${old},${fresh}&signsFrom=${from.toISOString()}`));
    const set = await issuer.keySet(now);
    const kidAt = async (time: number) => {
      const exp = Math.floor(time / 1000) + 600;
      const token = await issuer.issue({ sub: 's', aud: 'sts.amazonaws.com', exp }, time, soon());
      const answer = await jwtVerify(token, createLocalJWKSet(set), {
        issuer: ISSUER,
        audience: 'sts.amazonaws.com',
        currentDate: new Date(time),
      });
      return answer.protectedHeader.kid;
    };
    const kids = [await kidAt(now), await kidAt(from.getTime() - 1000), await kidAt(from.getTime())];
    expect(kids[1]).toBe(kids[0]);
    expect(kids[2]).not.toBe(kids[0]);
    expect(set.keys.map((key) => key.kid)).toEqual([kids[0], kids[2]]);
  });

  it('of another kind, or that are not there, stop the start with what to do', async () => {
    const symmetric = await makeKey({ KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' });
    await expect(openKmsKeys(symmetric)).rejects.toThrow('make one of RSA_2048 or more for SIGN_VERIFY');
    await expect(openKmsKeys(`awskms://nobody?region=${REGION}&endpoint=${moto.origin}`)).rejects.toThrow(
      'does not give the public key of nobody',
    );
    await expect(openKmsKeys('awskms://x')).rejects.toThrow('is not awskms://');
    await expect(openKmsKeys(`awskms://x?region=${REGION}&signsFrom=soon`)).rejects.toThrow('is not awskms://');
  });
});
