import { createHash } from 'node:crypto';
import { loginOf, roleOf } from '../domain/credential.ts';
import type { CredentialSource, OidcLogin } from '../domain/manifest.ts';
import { parseJson, field } from '../oci/body.ts';
import { awsKeysOf, awsRegionOf, type AwsKeys, type StsAccess } from './aws-sts.ts';

/** Key ids as IAM makes them; other stores that take AWS's variables have keys of their own making. */
const AWS_KEY_ID = /^A[KS]IA[A-Z0-9]{12,124}$/;
/** How Azure writes the id of a tenant, an application, a subscription. */
export const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
/** The address of a service account of Google Cloud. */
export const SERVICE_ACCOUNT = /^[a-z0-9-]{1,63}@[a-z0-9.-]{1,190}\.gserviceaccount\.com$/;
const PROJECT = /^[a-z][a-z0-9:.-]{4,61}$/;

/** What an identity puts into a run. */
export interface IdentityParts {
  source: CredentialSource;
  /** Of its secret; empty without one. */
  data: Record<string, string>;
  /** What the spec sets for every operation; credentials win over it. */
  environment: Record<string, string>;
}

/** Who keys are, for as long as this process lives: they never become somebody else's. */
export type PrincipalLookup = (
  keys: AwsKeys,
  access: StsAccess & { what: string },
) => Promise<{ account: string; arn: string }>;

const MAX_KEPT = 1000;

/** A look-up that asks once for the same keys; failures are not kept. */
export function createPrincipalLookup(ask: PrincipalLookup): PrincipalLookup {
  const kept = new Map<string, { account: string; arn: string }>();
  return async (keys, access) => {
    const parts = [keys.accessKeyId, keys.secretAccessKey, keys.sessionToken ?? ''];
    const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
    const known = kept.get(key);
    if (known !== undefined) return known;
    const found = await ask(keys, access);
    const [oldest] = kept.keys();
    if (kept.size >= MAX_KEPT && oldest !== undefined) kept.delete(oldest);
    kept.set(key, found);
    return found;
  };
}

/** Whether the keys are AWS's beyond doubt: an endpoint of one's own means that something else takes them. */
function isAws(variables: Record<string, string>, keys: AwsKeys): boolean {
  return (
    AWS_KEY_ID.test(keys.accessKeyId) && !Object.keys(variables).some((name) => name.startsWith('AWS_ENDPOINT_URL'))
  );
}

function first(variables: Record<string, string>, names: readonly string[], pattern: RegExp): string | undefined {
  const value = names.map((name) => variables[name]).find((text) => text !== undefined && text !== '');
  return value !== undefined && pattern.test(value) ? value : undefined;
}

/** The words that are known; who compares two principals takes a word that is missing as not said. */
function words(...parts: (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined && part !== '').join(' ');
}

/** `azure <tenant> <client> <subscription>`; identifiers only, and only what looks like them. */
function azurePrincipal(variables: Record<string, string>): string | undefined {
  const tenant = first(variables, ['ARM_TENANT_ID', 'AZURE_TENANT_ID'], GUID);
  const client = first(variables, ['ARM_CLIENT_ID', 'AZURE_CLIENT_ID'], GUID);
  if (tenant === undefined || client === undefined) return undefined;
  return words('azure', tenant, client, first(variables, ['ARM_SUBSCRIPTION_ID', 'AZURE_SUBSCRIPTION_ID'], GUID));
}

/** The project a service account belongs to, by its address. */
function projectOf(account: string): string | undefined {
  return /@([a-z0-9.:-]+)\.iam\.gserviceaccount\.com$/.exec(account)?.[1];
}

/** `gcp <project> <service account>`, of a key in JSON. */
function googlePrincipal(variables: Record<string, string>): string | undefined {
  const key = parseJson(Buffer.from(variables['GOOGLE_CREDENTIALS'] ?? ''));
  const account = field(key, 'client_email');
  if (typeof account !== 'string' || !SERVICE_ACCOUNT.test(account)) return undefined;
  const said = field(key, 'project_id');
  const own = typeof said === 'string' && PROJECT.test(said) ? said : projectOf(account);
  const project = first(variables, ['GOOGLE_PROJECT', 'GOOGLE_CLOUD_PROJECT'], PROJECT) ?? own;
  return project === undefined ? undefined : words('gcp', project, account);
}

function ofRole(role: string, region: string | undefined): string {
  return words('aws', role.split(':')[4], role, region);
}

function ofGoogle({ project, serviceAccount, provider }: NonNullable<OidcLogin['gcp']>): string {
  const own = serviceAccount === undefined ? undefined : projectOf(serviceAccount);
  return words('gcp', project ?? own ?? provider.split('/')[1], serviceAccount ?? provider);
}

/**
 * Who an identity is for its cloud: `aws <account> <ARN> <region>`, `azure <tenant> <client> <subscription>`,
 * `gcp <project> <service account>`; undefined where that is not beyond doubt. Only keys of AWS cost a question on the network:
 * everything else says it itself.
 * @throws ReconcileError IdentityFailed: keys of AWS that AWS does not know, or AWS that does not answer
 */
export async function principalOf(
  { source, data, environment }: IdentityParts,
  lookup: PrincipalLookup,
  access: Omit<StsAccess, 'region'> & { what: string },
): Promise<string | undefined> {
  const variables = { ...environment, ...data };
  const role = roleOf(source);
  if (role !== undefined) return ofRole(role.role, role.region ?? awsRegionOf(variables));
  const { azure, gcp } = loginOf(source) ?? {};
  if (azure !== undefined) return words('azure', azure.tenantId, azure.clientId, azure.subscriptionId);
  if (gcp !== undefined) return ofGoogle(gcp);
  const keys = awsKeysOf(data);
  if (keys === undefined || !isAws(variables, keys)) return azurePrincipal(data) ?? googlePrincipal(data);
  const region = awsRegionOf(variables);
  const { account, arn } = await lookup(keys, { ...access, region });
  return words('aws', account, arn, region);
}
