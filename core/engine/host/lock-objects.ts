import { createHash, createHmac } from 'node:crypto';
import type { JWTInput } from 'google-auth-library';

/** One object of a state backend, by its key. */
interface LockObject {
  /** Undefined when it is gone. */
  read(): Promise<string | undefined>;
  /** Removes it, and no other. */
  remove(): Promise<void>;
}

/** What the engine itself would have to reach the backend with. */
type Environment = Record<string, string | undefined>;

const LIMIT_MS = 30_000;
const MAX_LOCK_CHARS = 16 * 1024;

type Send = (method: 'GET' | 'DELETE') => Promise<Response>;

function overHttp(send: Send): LockObject {
  const ask = async (method: 'GET' | 'DELETE') => {
    const response = await send(method);
    const text = (await response.text()).slice(0, MAX_LOCK_CHARS);
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`the backend answered ${response.status} to a ${method}`);
    return text;
  };
  return { read: () => ask('GET'), remove: async () => void (await ask('DELETE')) };
}

function limited(headers: Record<string, string>, method: string): RequestInit {
  return { method, headers, redirect: 'error', signal: AbortSignal.timeout(LIMIT_MS) };
}

/** RFC 3986, as signatures of AWS want it: more than `encodeURIComponent` escapes. */
function escapePath(path: string): string {
  const escape = (char: string) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;
  return path
    .split('/')
    .map((part) => encodeURIComponent(part).replaceAll(/[!'()*]/g, escape))
    .join('/');
}

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

interface AwsKeys {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

/** AWS Signature Version 4 of a request without a body. */
export function signAws(at: {
  method: string;
  url: URL;
  region: string;
  now: Date;
  keys: AwsKeys;
}): Record<string, string> {
  const { method, url, region, keys } = at;
  const time = at.now.toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`;
  const body = sha256('');
  const headers: Record<string, string> = {
    host: url.host,
    'x-amz-content-sha256': body,
    'x-amz-date': time,
    ...(keys.sessionToken === undefined ? {} : { 'x-amz-security-token': keys.sessionToken }),
  };
  const names = Object.keys(headers).sort();
  const listed = names.map((name) => `${name}:${headers[name] ?? ''}\n`).join('');
  const canonical = [method, url.pathname, '', listed, names.join(';'), body].join('\n');
  const key = scope
    .split('/')
    .reduce<string | Buffer>((secret, part) => hmac(secret, part), `AWS4${keys.secretAccessKey}`);
  const signature = hmac(key, ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n')).toString('hex');
  const credential = `Credential=${keys.accessKeyId}/${scope}`;
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}`,
  };
}

function s3Origin(backend: URL, region: string, environment: Environment): string {
  const named =
    backend.searchParams.get('endpoint') ?? environment['AWS_ENDPOINT_URL_S3'] ?? environment['AWS_ENDPOINT_URL'];
  if (named !== undefined) return named.includes('://') ? named : `https://${named}`;
  const kind = backend.searchParams.get('fips') === 'true' ? 's3-fips' : 's3';
  const stack = backend.searchParams.get('dualstack') === 'true' ? '.dualstack' : '';
  return `https://${kind}${stack}.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

async function s3Object(backend: URL, key: string, environment: Environment): Promise<LockObject> {
  const { defaultProvider } = await import('@aws-sdk/credential-provider-node');
  const region =
    backend.searchParams.get('region') ?? environment['AWS_REGION'] ?? environment['AWS_DEFAULT_REGION'] ?? 'us-east-1';
  const url = new URL(`/${backend.hostname}/${escapePath(key)}`, s3Origin(backend, region, environment));
  const provider = defaultProvider({ clientConfig: { region } });
  return overHttp(async (method) => {
    const keys = await provider();
    // `fetch` sets the host itself.
    const { host: _, ...headers } = signAws({ method, url, region, now: new Date(), keys });
    return fetch(url, limited(headers, method));
  });
}

const GOOGLE_SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write';

/** In the order of the engine (3.259.0, pkg/authhelpers/gcpauth.go). */
async function googleToken(environment: Environment): Promise<string> {
  const { GoogleAuth } = await import('google-auth-library');
  const written = environment['GOOGLE_CREDENTIALS'];
  const given = environment['GOOGLE_OAUTH_ACCESS_TOKEN'];
  if (written === undefined && given !== undefined) return given;
  const settings = { scopes: [GOOGLE_SCOPE], projectId: 'plumbline' };
  const auth = new GoogleAuth(settings);
  // Of the kinds the library knows, it finds out itself which one this is.
  const client = written === undefined ? await auth.getClient() : auth.fromJSON(JSON.parse(written) as JWTInput);
  const { token } = await client.getAccessToken();
  if (typeof token !== 'string') throw new Error('Google gave no access token');
  return token;
}

async function googleObject(backend: URL, key: string, environment: Environment): Promise<LockObject> {
  const emulator = environment['STORAGE_EMULATOR_HOST'];
  const domain = backend.searchParams.get('universe_domain') ?? 'googleapis.com';
  const real = `https://storage.${domain}`;
  const origin = emulator === undefined ? real : emulator.includes('://') ? emulator : `http://${emulator}`;
  const url = `${origin}/storage/v1/b/${backend.hostname}/o/${encodeURIComponent(key)}`;
  const headers: Record<string, string> =
    emulator === undefined ? { authorization: `Bearer ${await googleToken(environment)}` } : {};
  return overHttp((method) => fetch(method === 'GET' ? `${url}?alt=media` : url, limited(headers, method)));
}

const AZURE_VERSION = '2021-12-02';

/** Shared Key of Azure Storage for a request without a body. */
export function signAzure(at: {
  method: string;
  url: URL;
  account: string;
  key: string;
  now: Date;
}): Record<string, string> {
  const headers = { 'x-ms-date': at.now.toUTCString(), 'x-ms-version': AZURE_VERSION };
  const listed = Object.entries(headers)
    .map(([name, value]) => `${name}:${value}\n`)
    .join('');
  const text = `${at.method}${'\n'.repeat(12)}${listed}/${at.account}${at.url.pathname}`;
  const signature = createHmac('sha256', Buffer.from(at.key, 'base64')).update(text).digest('base64');
  return { ...headers, authorization: `SharedKey ${at.account}:${signature}` };
}

interface AzureAccess {
  account: string;
  /** Where the containers are. */
  origin: string;
  key?: string;
  sas?: string;
}

function connectionString(text: string): AzureAccess {
  const fields = new Map(
    text.split(';').map((field): [string, string] => {
      const at = field.indexOf('=');
      return [field.slice(0, at), field.slice(at + 1)];
    }),
  );
  const account = fields.get('AccountName') ?? '';
  const made = `${fields.get('DefaultEndpointsProtocol') ?? 'https'}://${account}.blob.${fields.get('EndpointSuffix') ?? 'core.windows.net'}`;
  const [key, sas] = [fields.get('AccountKey'), fields.get('SharedAccessSignature')];
  const origin = (fields.get('BlobEndpoint') ?? made).replace(/\/$/, '');
  return { account, origin, ...(key === undefined ? {} : { key }), ...(sas === undefined ? {} : { sas }) };
}

/** In the order of the engine (gocloud.dev 0.47, blob/azureblob). */
function azureAccess(backend: URL, environment: Environment): AzureAccess {
  const { AZURE_STORAGE_KEY: key, AZURE_STORAGE_SAS_TOKEN: sas } = environment;
  const written = environment['AZURE_STORAGE_CONNECTION_STRING'] ?? environment['AZURE_STORAGEBLOB_CONNECTIONSTRING'];
  if (key === undefined && sas === undefined && written !== undefined) return connectionString(written);
  const of = (name: string, variable: string) => backend.searchParams.get(name) ?? environment[variable];
  const account = of('storage_account', 'AZURE_STORAGE_ACCOUNT') ?? '';
  const domain = of('domain', 'AZURE_STORAGE_DOMAIN') ?? 'blob.core.windows.net';
  const protocol = of('protocol', 'AZURE_STORAGE_PROTOCOL') ?? 'https';
  const isLocal =
    of('localemu', 'AZURE_STORAGE_IS_LOCAL_EMULATOR') === 'true' || /^(?:localhost|127\.0\.0\.1)/.test(domain);
  const origin = isLocal ? `${protocol}://${domain}/${account}` : `${protocol}://${account}.${domain}`;
  return { account, origin, ...(key === undefined ? {} : { key }), ...(sas === undefined ? {} : { sas }) };
}

async function azureObject(backend: URL, key: string, environment: Environment): Promise<LockObject> {
  const access = azureAccess(backend, environment);
  const url = new URL(`${access.origin}/${backend.hostname}/${escapePath(key)}`);
  const shared = access.key;
  if (shared !== undefined) {
    return overHttp((method) =>
      fetch(url, limited(signAzure({ method, url, account: access.account, key: shared, now: new Date() }), method)),
    );
  }
  const headers: Record<string, string> = { 'x-ms-version': AZURE_VERSION };
  if (access.sas === undefined) {
    const { DefaultAzureCredential } = await import('@azure/identity');
    const token = await new DefaultAzureCredential().getToken('https://storage.azure.com/.default');
    headers['authorization'] = `Bearer ${token.token}`;
  } else {
    url.search = access.sas.replace(/^\?/, '');
  }
  return overHttp((method) => fetch(url, limited(headers, method)));
}

const TABLE = /^[a-z_][a-z0-9_]{0,62}$/;

async function postgresObject(backend: URL, key: string, environment: Environment): Promise<LockObject> {
  const { default: pg } = await import('pg');
  const table = backend.searchParams.get('table') ?? 'pulumi_state';
  if (!TABLE.test(table)) throw new Error('the name of the table is not made of small letters, digits and _');
  const url = new URL(backend);
  url.searchParams.delete('table');
  // What lib/pq does when nothing is said; and its meaning of the modes.
  if (!url.searchParams.has('sslmode')) url.searchParams.set('sslmode', environment['PGSSLMODE'] ?? 'require');
  if (url.searchParams.get('sslmode') !== 'disable') url.searchParams.set('uselibpqcompat', 'true');
  const query = async (text: string, values: string[]): Promise<string[]> => {
    const client = new pg.Client({
      connectionString: url.href,
      connectionTimeoutMillis: LIMIT_MS,
      query_timeout: LIMIT_MS,
    });
    await client.connect();
    try {
      return (await client.query<{ data: string }>(text, values)).rows.map((row) => row.data);
    } finally {
      await client.end();
    }
  };
  return {
    async read() {
      const [data] = await query(`select data->>'data' as data from ${table} where key = $1`, [key]);
      return data === undefined ? undefined : Buffer.from(data, 'base64').toString('utf8');
    },
    remove: async () => void (await query(`delete from ${table} where key = $1`, [key])),
  };
}

/**
 * One object of a backend, reached with the credentials the engine would take from the environment.
 * @throws Error for a scheme that keeps no objects.
 */
export async function openLockObject(backend: string, key: string, environment: Environment): Promise<LockObject> {
  const url = new URL(backend);
  switch (url.protocol) {
    case 's3:':
      return s3Object(url, key, environment);
    case 'gs:':
      return googleObject(url, key, environment);
    case 'azblob:':
      return azureObject(url, key, environment);
    case 'postgres:':
      return postgresObject(url, key, environment);
    default:
      throw new Error(`a ${url.protocol} backend keeps no lock objects`);
  }
}
