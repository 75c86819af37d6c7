import { field } from '../oci/body.ts';
import { storeAddress } from './ask.ts';
import { cannotBeUsed, credential, notThere, storeFailed, type StoreContent, type StoreRead } from './port.ts';

const ATTEMPT_MS = 5_000;
/** The ids of versions are UUIDs; every other word is a label (AWS Secrets Manager API, GetSecretValue). */
const VERSION_ID = /^[0-9a-f-]{32,64}$/i;

/** `path` of an ARN names its region itself. */
function regionOf(read: StoreRead): string {
  const region = read.external.region ?? /^arn:[^:]+:secretsmanager:([^:]+):/.exec(read.external.path)?.[1];
  if (region !== undefined) return region;
  throw cannotBeUsed(read, 'spec.external.region is needed');
}

function wantedVersion({ external: { version } }: StoreRead) {
  if (version === undefined) return {};
  return VERSION_ID.test(version) ? { VersionId: version } : { VersionStage: version };
}

/** AWS Secrets Manager, with keys of `credentials`. The worker's own identity is never used: it is nobody's tenant. */
export async function readAws(read: StoreRead): Promise<StoreContent> {
  const { SecretsManagerClient, GetSecretValueCommand } = await import('@aws-sdk/client-secrets-manager');
  const { external, credentials } = read;
  const sessionToken = credentials['AWS_SESSION_TOKEN'];
  const client = new SecretsManagerClient({
    region: regionOf(read),
    ...(external.address !== undefined && { endpoint: storeAddress(read, external.address).href }),
    credentials: {
      accessKeyId: credential(read, 'AWS_ACCESS_KEY_ID'),
      secretAccessKey: credential(read, 'AWS_SECRET_ACCESS_KEY'),
      ...(sessionToken !== undefined && { sessionToken }),
    },
    requestHandler: { connectionTimeout: ATTEMPT_MS, requestTimeout: ATTEMPT_MS, throwOnRequestTimeout: true },
  });
  try {
    const command = new GetSecretValueCommand({ SecretId: external.path, ...wantedVersion(read) });
    const { SecretString, SecretBinary } = await client.send(command, { abortSignal: read.signal });
    return { text: SecretString ?? Buffer.from(SecretBinary ?? []).toString('utf8') };
  } catch (error) {
    const name = String(field(error, 'name'));
    if (name === 'ResourceNotFoundException') throw notThere(read, 'AWS has no such secret or version');
    // Not the message: those of AWS quote the caller, and some the request.
    throw storeFailed(read, read.signal.aborted ? 'it did not answer in time' : `AWS answers ${name}`);
  } finally {
    client.destroy();
  }
}
