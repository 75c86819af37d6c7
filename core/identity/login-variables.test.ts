import { describe, expect, it } from 'vitest';
import { loginVariables } from './login-variables.ts';

const at = { tokenFile: '/run/x/token', googleFile: '/run/x/google.json', sessionName: 'plumbline-a-b-1-plan' };
const PROVIDER = 'projects/1/locations/global/workloadIdentityPools/p/providers/q';

describe('what a cloud finds in the run', () => {
  it('of AWS', () => {
    const { environment, google } = loginVariables({ aws: { role: 'arn:x', region: 'eu-west-1' } }, at);
    expect(google).toBeUndefined();
    expect(environment).toEqual({
      AWS_WEB_IDENTITY_TOKEN_FILE: '/run/x/token',
      AWS_ROLE_ARN: 'arn:x',
      AWS_ROLE_SESSION_NAME: 'plumbline-a-b-1-plan',
      AWS_REGION: 'eu-west-1',
    });
    expect(loginVariables({ aws: { role: 'arn:x' } }, at).environment).not.toHaveProperty('AWS_REGION');
  });

  it('of Azure', () => {
    const { environment } = loginVariables({ azure: { tenantId: 't', clientId: 'c', subscriptionId: 's' } }, at);
    expect(environment).toEqual({
      AZURE_FEDERATED_TOKEN_FILE: '/run/x/token',
      AZURE_TENANT_ID: 't',
      AZURE_CLIENT_ID: 'c',
      AZURE_SUBSCRIPTION_ID: 's',
      ARM_USE_OIDC: 'true',
      ARM_OIDC_TOKEN_FILE_PATH: '/run/x/token',
      ARM_TENANT_ID: 't',
      ARM_CLIENT_ID: 'c',
      ARM_SUBSCRIPTION_ID: 's',
    });
  });

  it('of Google, as federation with the file of the token', () => {
    const login = { gcp: { provider: PROVIDER, serviceAccount: 'ops@shop.iam.gserviceaccount.com', project: 'shop' } };
    const { environment, google } = loginVariables(login, at);
    expect(environment).toMatchObject({ GOOGLE_APPLICATION_CREDENTIALS: '/run/x/google.json', GOOGLE_PROJECT: 'shop' });
    expect(JSON.parse(google ?? '')).toMatchObject({
      type: 'external_account',
      audience: `//iam.googleapis.com/${PROVIDER}`,
      credential_source: { file: '/run/x/token' },
      service_account_impersonation_url: expect.stringContaining(
        'ops@shop.iam.gserviceaccount.com:generateAccessToken',
      ),
    });
  });

  it('of anybody else: the path of the token', () => {
    expect(loginVariables({ tokenFile: 'VAULT_JWT_FILE' }, at).environment).toEqual({ VAULT_JWT_FILE: '/run/x/token' });
  });
});
