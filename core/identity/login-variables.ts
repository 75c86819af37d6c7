import type { OidcLogin } from '../domain/manifest.ts';

/** Google's name for a token of OpenID Connect (RFC 8693, section 3). */
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';

/** What a login adds to a run: variables, and the content of the file one of them points to. */
export interface LoginFiles {
  environment: Record<string, string>;
  /** `external_account` of Google; undefined for other clouds. */
  google: string | undefined;
}

/** Google's file for workload identity federation: where the token is and who takes it (google-auth-library, AIP-4117). */
function externalAccount(gcp: NonNullable<OidcLogin['gcp']>, tokenFile: string): string {
  const account = gcp.serviceAccount;
  return JSON.stringify({
    type: 'external_account',
    audience: `//iam.googleapis.com/${gcp.provider}`,
    subject_token_type: JWT_TYPE,
    token_url: 'https://sts.googleapis.com/v1/token',
    credential_source: { file: tokenFile, format: { type: 'text' } },
    ...(account !== undefined && {
      service_account_impersonation_url: `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/${account}:generateAccessToken`,
    }),
  });
}

function set(variables: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/**
 * The variables by which a cloud's SDK finds the token of a run and what to take it for. The names are those of the AWS SDKs,
 * of Azure's workload identity and the providers of Pulumi for Azure, and of Google's application default credentials.
 */
export function loginVariables(
  login: OidcLogin,
  at: { tokenFile: string; googleFile: string; sessionName: string },
): LoginFiles {
  const { aws, azure, gcp, tokenFile } = login;
  if (aws !== undefined) {
    const environment = set({
      AWS_WEB_IDENTITY_TOKEN_FILE: at.tokenFile,
      AWS_ROLE_ARN: aws.role,
      AWS_ROLE_SESSION_NAME: at.sessionName,
      AWS_REGION: aws.region,
    });
    return { environment, google: undefined };
  }
  if (azure !== undefined) {
    const { tenantId, clientId, subscriptionId } = azure;
    const environment = set({
      AZURE_FEDERATED_TOKEN_FILE: at.tokenFile,
      AZURE_TENANT_ID: tenantId,
      AZURE_CLIENT_ID: clientId,
      AZURE_SUBSCRIPTION_ID: subscriptionId,
      ARM_USE_OIDC: 'true',
      ARM_OIDC_TOKEN_FILE_PATH: at.tokenFile,
      ARM_TENANT_ID: tenantId,
      ARM_CLIENT_ID: clientId,
      ARM_SUBSCRIPTION_ID: subscriptionId,
    });
    return { environment, google: undefined };
  }
  if (gcp !== undefined) {
    const environment = set({
      GOOGLE_APPLICATION_CREDENTIALS: at.googleFile,
      CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: at.googleFile,
      GOOGLE_PROJECT: gcp.project,
      GOOGLE_CLOUD_PROJECT: gcp.project,
      CLOUDSDK_CORE_PROJECT: gcp.project,
    });
    return { environment, google: externalAccount(gcp, at.tokenFile) };
  }
  return { environment: tokenFile === undefined ? {} : { [tokenFile]: at.tokenFile }, google: undefined };
}
