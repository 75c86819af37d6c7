import { field } from '../body.ts';
import { refusedBy, unreachable, type Ask, type CloudCredentials } from './ask.ts';
import type { CloudHost } from './cloud-host.ts';

type EcrHost = Extract<CloudHost, { cloud: 'aws' }>;

/** ECR Public is in one region. */
const PUBLIC_REGION = 'us-east-1';
const WHAT_TO_DO =
  'give the worker a role (IRSA, EKS Pod Identity, ECS task role or instance profile) that may ecr:GetAuthorizationToken';
/** Answers of 4xx that pass by themselves. */
const PASSING = /throttl|toomanyrequests|requestlimit|requesttimeout|slowdown/i;

function isRefusal(error: unknown): boolean {
  const name = String(field(error, 'name'));
  // What the default chain throws when none of its providers applies.
  if (name === 'CredentialsProviderError') return true;
  const status = Number(field(field(error, '$metadata'), 'httpStatusCode'));
  return status >= 400 && status < 500 && status !== 408 && status !== 429 && !PASSING.test(name);
}

async function settings(region: string, { endpoints, limitMs }: Ask) {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
  const requestHandler = { connectionTimeout: limitMs / 4, requestTimeout: limitMs / 2, throwOnRequestTimeout: true };
  const endpoint = endpoints.aws === undefined ? {} : { endpoint: endpoints.aws };
  const clientConfig = { region, requestHandler, ...endpoint };
  return { ...clientConfig, credentials: defaultProvider({ clientConfig }) };
}

interface Authorization {
  authorizationToken?: string | undefined;
  expiresAt?: Date | undefined;
}

async function requestPrivate(host: Extract<EcrHost, { kind: 'private' }>, ask: Ask): Promise<Authorization> {
  const { ECRClient, GetAuthorizationTokenCommand } = await import('@aws-sdk/client-ecr');
  const client = new ECRClient({ ...(await settings(host.region, ask)), useFipsEndpoint: host.fips });
  try {
    const answer = await client.send(new GetAuthorizationTokenCommand({}), { abortSignal: ask.signal });
    return answer.authorizationData?.[0] ?? {};
  } finally {
    client.destroy();
  }
}

async function requestPublic(ask: Ask): Promise<Authorization> {
  const { ECRPUBLICClient, GetAuthorizationTokenCommand } = await import('@aws-sdk/client-ecr-public');
  const client = new ECRPUBLICClient(await settings(PUBLIC_REGION, ask));
  try {
    const answer = await client.send(new GetAuthorizationTokenCommand({}), { abortSignal: ask.signal });
    return answer.authorizationData ?? {};
  } finally {
    client.destroy();
  }
}

/** `authorizationToken` is base64 of `AWS:<password>` (Amazon ECR API, AuthorizationData). */
function toCredentials({ authorizationToken = '', expiresAt }: Authorization): CloudCredentials | undefined {
  const [, username, password] = /^([^:]+):(.+)$/s.exec(Buffer.from(authorizationToken, 'base64').toString()) ?? [];
  if (username === undefined || password === undefined || expiresAt === undefined) return undefined;
  return { username, password, expiresAt };
}

/**
 * Credentials for an ECR registry, by the default provider chain of the AWS SDK.
 * @throws ReconcileError stalled SourceUnauthorized | transient SourceUnreachable
 */
export async function askAws(host: EcrHost, ask: Ask): Promise<CloudCredentials> {
  const request = host.kind === 'public' ? requestPublic(ask) : requestPrivate(host, ask);
  const authorization = await request.catch((error: unknown) => {
    throw isRefusal(error) ? refusedBy('AWS', ask, error, WHAT_TO_DO) : unreachable('AWS', ask, error);
  });
  const credentials = toCredentials(authorization);
  if (credentials === undefined) throw unreachable('AWS', ask, 'its answer holds no token');
  return credentials;
}
