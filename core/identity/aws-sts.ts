import type { STSClient } from '@aws-sdk/client-sts';
import { ReconcileError, stalled, transient } from '../domain/errors.ts';
import { field } from '../oci/body.ts';
import { saidBy } from '../oci/identity/ask.ts';
import { unlessAborted } from '../unless-aborted.ts';

/** Upper limit of one question with all its tries, in milliseconds. */
const LIMIT_MS = 20_000;
/** STS without a region is asked in the one every account has. */
const HOME_REGION = 'us-east-1';
/** Answers of 4xx that pass by themselves. */
const PASSING = /throttl|toomanyrequests|requestlimit|requesttimeout|slowdown|IDPCommunicationError/i;
const REGION = /^[a-z]{2,}(-[a-z]+)+-\d+$/;

/** Keys of AWS, long-lived or of a session. */
export interface AwsKeys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string | undefined;
}

/** How STS is reached. */
export interface StsAccess {
  region: string | undefined;
  /** Origin of STS in its place; for tests. */
  endpoint: string | undefined;
  signal: AbortSignal;
}

/** The keys among variables; undefined unless both halves are there. */
export function awsKeysOf(variables: Record<string, string>): AwsKeys | undefined {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = variables;
  if (!accessKeyId || !secretAccessKey) return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
}

/** The region among variables, as the SDKs look for it; undefined when there is none, or it is none. */
export function awsRegionOf(variables: Record<string, string>): string | undefined {
  const region = variables['AWS_REGION'] || variables['AWS_DEFAULT_REGION'] || '';
  return REGION.test(region) ? region : undefined;
}

function isRefusal(error: unknown): boolean {
  const name = String(field(error, 'name'));
  const status = Number(field(field(error, '$metadata'), 'httpStatusCode'));
  return status >= 400 && status < 500 && status !== 408 && status !== 429 && !PASSING.test(name);
}

/** What AWS said becomes ours: a refusal waits for a person, everything else is tried again. Never the cause: it quotes requests. */
function failure(what: string, error: unknown, remedy: string): ReconcileError {
  if (error instanceof ReconcileError) return error;
  return isRefusal(error)
    ? stalled('IdentityFailed', `AWS refuses ${what} (${saidBy(error)}); ${remedy}; see docs/identities.md`)
    : transient('IdentityFailed', `AWS could not be asked for ${what} (${saidBy(error)}); it is tried again`);
}

async function withSts<T>(
  keys: AwsKeys,
  access: StsAccess,
  ask: (client: STSClient, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { STSClient: Client } = await import('@aws-sdk/client-sts');
  const client = new Client({
    region: access.region ?? HOME_REGION,
    // Never the worker's own: what a secret does not hold is not filled up from here.
    credentials: {
      accessKeyId: keys.accessKeyId,
      secretAccessKey: keys.secretAccessKey,
      ...(keys.sessionToken && { sessionToken: keys.sessionToken }),
    },
    ...(access.endpoint !== undefined && { endpoint: access.endpoint }),
    requestHandler: { connectionTimeout: LIMIT_MS / 4, requestTimeout: LIMIT_MS / 2, throwOnRequestTimeout: true },
  });
  const limit = AbortSignal.timeout(LIMIT_MS);
  const signal = AbortSignal.any([access.signal, limit]);
  try {
    return await unlessAborted(ask(client, signal), signal);
  } catch (error) {
    if (access.signal.aborted) throw access.signal.reason;
    if (limit.aborted) throw new Error(`no answer within ${LIMIT_MS / 1000} s`, { cause: error });
    throw error;
  } finally {
    client.destroy();
  }
}

/** Who keys are, by `GetCallerIdentity`, which no policy can forbid: `<account> <ARN>`, the ARN without its session. */
export async function callerIdentity(
  keys: AwsKeys,
  access: StsAccess & { what: string },
): Promise<{ account: string; arn: string }> {
  const { GetCallerIdentityCommand } = await import('@aws-sdk/client-sts');
  try {
    const answer = await withSts(keys, access, (client, signal) =>
      client.send(new GetCallerIdentityCommand({}), { abortSignal: signal }),
    );
    const { Account: account, Arn: arn } = answer;
    if (account === undefined || arn === undefined) throw new Error('the answer names nobody');
    return { account, arn: arn.replace(/^(arn:[^:]*:sts::\d*:(?:assumed-role|federated-user)\/[^/]+)\/.*$/, '$1') };
  } catch (error) {
    throw unlessStopped(access, failure(`the identity of ${access.what}`, error, 'renew its keys'));
  }
}

/** The end of the run is told as it is. */
function unlessStopped(access: StsAccess, error: ReconcileError): unknown {
  return access.signal.aborted ? access.signal.reason : error;
}

export interface RoleWish {
  role: string;
  externalId: string | undefined;
  sessionName: string;
  /** Milliseconds the session is to last. */
  lifeMs: number;
  /** The life is what the spec says: nothing shorter will do. */
  strict: boolean;
  /** The Secret, for messages. */
  what: string;
}

export interface AssumedRole {
  keys: Required<AwsKeys>;
  expiresAt: Date;
  /** Set when AWS gives less time than was wished for. */
  note: string | undefined;
}

const MIN_SECONDS = 900;
const MAX_SECONDS = 43_200;
/** What every role allows, and the most that a role assumed by a role may have. */
const PLAIN_SECONDS = 3600;

function isAboutDuration(error: unknown): boolean {
  return /DurationSeconds|MaxSessionDuration/.test(String(field(error, 'message')));
}

async function assumeFor(
  keys: AwsKeys,
  access: StsAccess,
  wish: RoleWish,
  seconds: number,
): Promise<Omit<AssumedRole, 'note'>> {
  const { AssumeRoleCommand } = await import('@aws-sdk/client-sts');
  const command = new AssumeRoleCommand({
    RoleArn: wish.role,
    RoleSessionName: wish.sessionName,
    DurationSeconds: seconds,
    ...(wish.externalId !== undefined && { ExternalId: wish.externalId }),
  });
  const { Credentials } = await withSts(keys, access, (client, signal) =>
    client.send(command, { abortSignal: signal }),
  );
  const {
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey,
    SessionToken: sessionToken,
    Expiration,
  } = Credentials ?? {};
  if (!accessKeyId || !secretAccessKey || !sessionToken || Expiration === undefined)
    throw new Error('the answer holds no keys');
  return { keys: { accessKeyId, secretAccessKey, sessionToken }, expiresAt: Expiration };
}

/**
 * Assumes a role with the keys of a secret. Where the role does not allow a session as long as the operation may take, one of an
 * hour is taken and told of.
 * @throws ReconcileError stalled IdentityFailed (refused) | transient IdentityFailed; or the reason of the signal
 */
export async function assumeRole(keys: AwsKeys, access: StsAccess, wish: RoleWish): Promise<AssumedRole> {
  const seconds = Math.min(MAX_SECONDS, Math.max(MIN_SECONDS, Math.ceil(wish.lifeMs / 1000)));
  const what = `the role ${wish.role} to ${wish.what}`;
  const remedy = 'see that the trust policy of the role names these keys and the external id';
  try {
    return { ...(await assumeFor(keys, access, wish, seconds)), note: undefined };
  } catch (error) {
    const isTooLong = isAboutDuration(error) && seconds > PLAIN_SECONDS;
    if (!isTooLong || wish.strict) {
      const long = isTooLong ? `its sessions last no ${seconds} s: raise MaxSessionDuration of the role` : remedy;
      throw unlessStopped(access, failure(what, error, long));
    }
  }
  try {
    const note = `the session of ${wish.role} lasts ${PLAIN_SECONDS / 60} min, less than the operation may take: raise MaxSessionDuration of the role to ${seconds} s`;
    return { ...(await assumeFor(keys, access, wish, PLAIN_SECONDS)), note };
  } catch (error) {
    throw unlessStopped(access, failure(what, error, remedy));
  }
}
