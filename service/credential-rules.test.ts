import { describe, expect, it } from 'vitest';
import type { CredentialSource } from '#core/domain/manifest.ts';
import { credentialErrors } from './credential-rules.ts';
import { secretUses } from './spec-rules.ts';

const ROLE = 'arn:aws:iam::123456789012:role/ops/deploy';
const GUID = '6b1c9c52-91d2-4f0e-8a53-0d1a9c1f2e3d';
const PROVIDER = 'projects/1234567890/locations/global/workloadIdentityPools/plumbline/providers/plumbline';

const spec = (apply: CredentialSource) => ({
  source: { repository: 'oci://registry.example.com/infra/shop', ref: { tag: 'prod' } },
  pulumi: { stack: 'prod' },
  credentials: { apply },
});

const paths = (apply: CredentialSource, mintsTokens = true) =>
  credentialErrors(spec(apply), { mintsTokens }).map((error) => error.path);

describe('identities of a stack', () => {
  it.each<[string, CredentialSource]>([
    ['a secret', 'deploy'],
    [
      'a role by keys',
      { secret: 'base', assumeRole: { role: ROLE, externalId: 'x1', session: '2h', region: 'eu-west-1' } },
    ],
    ['a role of another partition', { secret: 'base', assumeRole: { role: ROLE.replace(':aws:', ':aws-us-gov:') } }],
    ['a role by a token', { oidc: { aws: { role: ROLE, region: 'eu-west-1' } } }],
    ['an application of Azure', { oidc: { azure: { tenantId: GUID, clientId: GUID, subscriptionId: GUID } } }],
    ['a pool of Google', { oidc: { gcp: { provider: PROVIDER, serviceAccount: 'ops@shop.iam.gserviceaccount.com' } } }],
    ['a file, with variables of a secret beside it', { oidc: { tokenFile: 'VAULT_JWT_FILE' }, secret: 'vault' }],
  ])('%s is taken', (_, source) => {
    expect(paths(source)).toEqual([]);
  });

  it.each<[string, string, CredentialSource]>([
    ['a token for nobody', 'oidc', { oidc: {} }],
    ['a token for two', 'oidc', { oidc: { aws: { role: ROLE }, tokenFile: 'X' } }],
    ['an ARN with a blank', 'assumeRole/role', { secret: 'a', assumeRole: { role: `${ROLE} x` } }],
    ['an ARN of two lines', 'oidc/aws/role', { oidc: { aws: { role: `${ROLE}\nx` } } }],
    ['a session under 15 minutes', 'assumeRole/session', { secret: 'a', assumeRole: { role: ROLE, session: '14m' } }],
    ['a session over 12 hours', 'assumeRole/session', { secret: 'a', assumeRole: { role: ROLE, session: '13h' } }],
    ['an external id by a token', 'oidc/aws/externalId', { oidc: { aws: { role: ROLE, externalId: 'abc' } } }],
    ['the life of a session by a token', 'oidc/aws/session', { oidc: { aws: { role: ROLE, session: '1h' } } }],
    ['a tenant that is no id', 'oidc/azure/tenantId', { oidc: { azure: { tenantId: 'contoso', clientId: GUID } } }],
    [
      'a pool by the name of its project',
      'oidc/gcp/provider',
      { oidc: { gcp: { provider: PROVIDER.replace('1234567890', 'shop') } } },
    ],
    [
      'an address that is no service account',
      'oidc/gcp/serviceAccount',
      { oidc: { gcp: { provider: PROVIDER, serviceAccount: 'me@example.com' } } },
    ],
    ['the path of programs as a token file', 'oidc/tokenFile', { oidc: { tokenFile: 'PATH' } }],
    ['a variable of the engine as a token file', 'oidc/tokenFile', { oidc: { tokenFile: 'PULUMI_HOME' } }],
    ['a linker variable as a token file', 'oidc/tokenFile', { oidc: { tokenFile: 'LD_PRELOAD' } }],
  ])('%s is refused at %s', (_, path, source) => {
    expect(paths(source)).toEqual([`spec/credentials/apply/${path}`]);
  });

  it('by a token need a public URL, and the message names the setting', () => {
    const [error, ...more] = credentialErrors(spec({ oidc: { aws: { role: ROLE } } }), { mintsTokens: false });
    expect(more).toEqual([]);
    expect(error).toMatchObject({
      path: 'spec/credentials/apply/oidc',
      message: expect.stringContaining('PLUMBLINE_PUBLIC_URL'),
    });
  });

  it('by a role need both halves of the keys in the secret', () => {
    expect(secretUses(spec({ secret: 'base', assumeRole: { role: ROLE } }))).toEqual([
      { path: 'spec/credentials/apply', secret: 'base', key: undefined },
      { path: 'spec/credentials/apply/secret', secret: 'base', key: 'AWS_ACCESS_KEY_ID' },
      { path: 'spec/credentials/apply/secret', secret: 'base', key: 'AWS_SECRET_ACCESS_KEY' },
    ]);
  });
});
