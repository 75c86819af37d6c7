import { describe, expect, it, vi } from 'vitest';
import { transient } from '../domain/errors.ts';
import type { CredentialSource } from '../domain/manifest.ts';
import { createPrincipalLookup, principalOf, type PrincipalLookup } from './principal.ts';

const ROLE = 'arn:aws:iam::123456789012:role/ops';
const KEYS = { AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret-of-aws' };
const GUID = '6b1c9c52-91d2-4f0e-8a53-0d1a9c1f2e3d';
const access = { what: 'the identity plan', endpoint: undefined, signal: new AbortController().signal };
const known: PrincipalLookup = async () => ({ account: '123456789012', arn: 'arn:aws:iam::123456789012:user/deploy' });
const never: PrincipalLookup = async () => {
  throw new Error('nobody may be asked');
};

const ask = (source: CredentialSource, data: Record<string, string>, lookup: PrincipalLookup, environment = {}) =>
  principalOf({ source, data, environment }, lookup, access);

describe('who an identity is', () => {
  it.each<[string, Record<string, string>, string]>([
    ['without a region', {}, ''],
    ['in the region of the spec', { AWS_REGION: 'eu-central-1' }, ' eu-central-1'],
    ['in the other variable of a region', { AWS_DEFAULT_REGION: 'us-gov-west-1' }, ' us-gov-west-1'],
    ['in what is no region', { AWS_REGION: 'secret canary' }, ''],
  ])('keys of AWS %s', async (_, environment, region) => {
    const said = await ask('deploy', KEYS, known, environment);
    expect(said).toBe(`aws 123456789012 arn:aws:iam::123456789012:user/deploy${region}`);
  });

  it.each<[string, CredentialSource, Record<string, string>, string | undefined]>([
    [
      'a role by keys',
      { secret: 'a', assumeRole: { role: ROLE, region: 'eu-west-1' } },
      KEYS,
      `aws 123456789012 ${ROLE} eu-west-1`,
    ],
    ['a role by a token', { oidc: { aws: { role: ROLE } } }, {}, `aws 123456789012 ${ROLE}`],
    ['an application of Azure', { oidc: { azure: { tenantId: 't', clientId: 'c' } } }, {}, 'azure t c'],
    [
      'a service account by a token',
      { oidc: { gcp: { provider: 'p', serviceAccount: 'sa', project: 'shop' } } },
      {},
      'gcp shop sa',
    ],
    [
      'a service account whose project its address says',
      { oidc: { gcp: { provider: 'p', serviceAccount: 'sa@shop.iam.gserviceaccount.com' } } },
      {},
      'gcp shop sa@shop.iam.gserviceaccount.com',
    ],
    ['a pool without a service account', { oidc: { gcp: { provider: 'projects/12/x' } } }, {}, 'gcp 12 projects/12/x'],
    ['a file for somebody', { oidc: { tokenFile: 'X' } }, {}, undefined],
    [
      'a service principal of Azure',
      'x',
      { ARM_TENANT_ID: GUID, ARM_CLIENT_ID: GUID, ARM_CLIENT_SECRET: 'hidden' },
      `azure ${GUID} ${GUID}`,
    ],
    [
      'a key of Google',
      'x',
      {
        GOOGLE_CREDENTIALS: JSON.stringify({
          client_email: 'ops@shop-1.iam.gserviceaccount.com',
          project_id: 'shop-1',
          private_key: 'hidden',
        }),
      },
      'gcp shop-1 ops@shop-1.iam.gserviceaccount.com',
    ],
    ['half a pair of keys', 'x', { AWS_ACCESS_KEY_ID: KEYS.AWS_ACCESS_KEY_ID }, undefined],
    ['keys of another store', 'x', { ...KEYS, AWS_ACCESS_KEY_ID: 'minioadmin' }, undefined],
    ['keys for an endpoint of one’s own', 'x', { ...KEYS, AWS_ENDPOINT_URL: 'http://minio:9000' }, undefined],
    ['a text where Azure has an id', 'x', { ARM_TENANT_ID: 'canary', ARM_CLIENT_ID: GUID }, undefined],
    ['a text where Google has a key', 'x', { GOOGLE_CREDENTIALS: 'canary' }, undefined],
    ['a password of a database', 'x', { PGPASSWORD: 'canary' }, undefined],
  ])('%s: nobody is asked', async (_, source, data, principal) => {
    expect(await ask(source, data, never)).toBe(principal);
  });

  it('tells nothing that is secret', async () => {
    const data = { ...KEYS, AWS_SESSION_TOKEN: 'session-of-aws' };
    const said = await ask('x', data, known);
    expect(said).not.toMatch(/secret-of-aws|session-of-aws|AKIA/);
  });
});

describe('the same keys', () => {
  it('are asked about once, other ones anew, and a failure is not kept', async () => {
    const cloud = vi.fn(known).mockRejectedValueOnce(transient('IdentityFailed', 'late'));
    const lookup = createPrincipalLookup(cloud);
    await expect(ask('x', KEYS, lookup)).rejects.toThrow('late');
    await ask('x', KEYS, lookup);
    await ask('x', KEYS, lookup);
    expect(cloud).toHaveBeenCalledTimes(2);
    await ask('x', { ...KEYS, AWS_SECRET_ACCESS_KEY: 'another' }, lookup);
    expect(cloud).toHaveBeenCalledTimes(3);
  });
});
