import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { createCloudIdentity } from '#core/oci/identity/cloud-credentials.ts';
import { startMoto, type Moto } from '../../toolchain/moto.ts';

const HOST = '123456789012.dkr.ecr.eu-west-1.amazonaws.com';

let moto: Moto;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plumbline-identity-'));
  moto = await startMoto(inject('toolchainDir'));
});
afterAll(async () => {
  await moto?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** What Amazon's webhook gives a pod with a role: a token file and the role, and no key. */
async function becomePod(role: string): Promise<void> {
  const file = join(folder, 'token');
  await writeFile(file, 'the.token.of-the-pod');
  vi.stubEnv('AWS_ACCESS_KEY_ID', undefined);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_CONFIG_FILE', '/dev/null');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null');
  vi.stubEnv('AWS_WEB_IDENTITY_TOKEN_FILE', file);
  vi.stubEnv('AWS_ROLE_ARN', role);
}

/** A role that may do nothing, made by a call of IAM: moto looks at who calls only where it is told to. */
async function createRole(name: string): Promise<void> {
  const form = { Action: 'CreateRole', Version: '2010-05-08', RoleName: name, AssumeRolePolicyDocument: '{}' };
  const scope = 'Credential=AKIAEXAMPLE/20260101/us-east-1/iam/aws4_request';
  const response = await fetch(moto.origin, {
    method: 'POST',
    headers: { authorization: `AWS4-HMAC-SHA256 ${scope}, SignedHeaders=host, Signature=none` },
    body: new URLSearchParams(form),
  });
  expect(await response.text()).toContain(`<RoleName>${name}</RoleName>`);
}

const ask = () => createCloudIdentity({ endpoints: { aws: moto.origin } })('aws', HOST, AbortSignal.timeout(30_000));

/** The actions moto answers from now on without looking at the caller's rights. */
async function letPass(actions: number): Promise<void> {
  await fetch(`${moto.origin}/moto-api/reset-auth`, { method: 'POST', body: String(actions) });
}

describe('workload identity against an emulated AWS', () => {
  afterEach(async () => {
    vi.unstubAllEnvs();
    await letPass(1_000_000);
  });

  it('gets a registry password for a pod that has a role and no key', async () => {
    await becomePod('arn:aws:iam::123456789012:role/plumbline-worker');
    const { expiresAt, ...credentials } = await ask();
    expect(credentials).toEqual({ username: 'AWS', password: '123456789012-auth-token' });
    expect(expiresAt).toBeInstanceOf(Date);
  });

  it('stalls when the role may not pull, and says what to do', async () => {
    await createRole('may-nothing');
    await becomePod('arn:aws:iam::123456789012:role/may-nothing');
    // Assuming the role takes no rights of it.
    await letPass(1);
    await expect(ask()).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'SourceUnauthorized',
      message: expect.stringContaining('that may ecr:GetAuthorizationToken; see docs/workload-identity.md'),
    });
  });

  it('shows the role to no host that only looks like a registry of AWS', async () => {
    await becomePod('arn:aws:iam::123456789012:role/plumbline-worker');
    const identity = createCloudIdentity({ endpoints: { aws: moto.origin } });
    await expect(identity('aws', `${HOST}.evil.com`, AbortSignal.timeout(5_000))).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'InvalidReference',
    });
  });
});
