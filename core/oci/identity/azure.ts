import { asReconcileError } from '#core/domain/errors.ts';
import { field, parseJson, readAll } from '../body.ts';
import { createHttp, DEFAULT_TIMEOUTS } from '../http.ts';
import { refusedBy, unreachable, type Ask, type CloudCredentials } from './ask.ts';

/** The audience of registries in every Azure cloud (azcontainerregistry, custom_constants.go). */
const SCOPE = 'https://containerregistry.azure.net/.default';
/** User name of a refresh token (Azure/acr docs/AAD-OAuth.md). */
const TOKEN_USER = '00000000-0000-0000-0000-000000000000';
const MAX_ANSWER_BYTES = 128 * 1024;
/** Where the refresh token does not say when it ends; it lasts three hours. */
const UNSAID_LIFE_MS = 10 * 60_000;
const WHAT_TO_DO = 'give the worker a managed identity or a federated credential with the role AcrPull on the registry';

/** What the chain and its parts throw when there is no identity or Entra ID turns it away. */
const REFUSALS: ReadonlySet<unknown> = new Set([
  'AggregateAuthenticationError',
  'ChainedTokenCredentialAuthenticationFailed',
  'CredentialUnavailableError',
  'AuthenticationRequiredError',
]);

/** What the same errors say when Entra ID could not be reached. */
const AWAY =
  /endpoints_resolution_error|network_error|temporarily_unavailable|server_error|throttl|EAI_AGAIN|ECONNRESET/;

function isRefusal(error: unknown): boolean {
  if (AWAY.test(String(field(error, 'message')))) return false;
  const status = Number(field(error, 'statusCode') ?? field(error, 'status'));
  return REFUSALS.has(field(error, 'name')) || (status >= 400 && status < 500 && status !== 408 && status !== 429);
}

/** Of the errors of a chain the one that says most: most of its parts only say that they do not apply. */
function telling(error: unknown): unknown {
  const errors = field(error, 'errors');
  if (!Array.isArray(errors)) return error;
  const one: unknown = errors.find((each) => field(each, 'name') !== 'CredentialUnavailableError');
  return one ?? 'it has no managed identity and no federated credential';
}

async function requestEntraToken({ endpoints, signal }: Ask): Promise<string> {
  const { DefaultAzureCredential } = await import('@azure/identity');
  const { azure } = endpoints;
  const own =
    azure === undefined
      ? {}
      : { authorityHost: azure.authority, disableInstanceDiscovery: true, tlsOptions: { ca: azure.ca } };
  const credential = new DefaultAzureCredential({ retryOptions: { maxRetries: 1 }, ...own });
  const { token } = await credential.getToken(SCOPE, { abortSignal: signal });
  return token;
}

/** `POST /oauth2/exchange` (Azure/acr docs/AAD-OAuth.md): an Entra token for a refresh token of the registry. */
async function exchange(accessToken: string, { host, endpoints, limitMs, signal }: Ask) {
  const origin = new URL(endpoints.azure?.registry ?? `https://${host}`);
  const form = new URLSearchParams({ grant_type: 'access_token', service: host, access_token: accessToken });
  const http = createHttp({
    plainHttpHosts: origin.protocol === 'http:' ? [origin.host] : [],
    privateHosts: [],
    timeouts: DEFAULT_TIMEOUTS,
    userAgent: 'plumbline',
  });
  try {
    const response = await http.send({
      method: 'POST',
      url: new URL('/oauth2/exchange', origin),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: Buffer.from(form.toString()),
      home: origin.host,
      what: `a token for ${host}`,
      limitMs,
      signal,
    });
    const bytes = await readAll(response, MAX_ANSWER_BYTES, `the token of ${host}`);
    return { status: response.status, token: field(parseJson(bytes), 'refresh_token') };
  } finally {
    await http.close();
  }
}

async function expiryOf(token: string): Promise<Date> {
  const { decodeJwt } = await import('jose');
  try {
    const { exp } = decodeJwt(token);
    if (exp !== undefined) return new Date(exp * 1000);
  } catch {
    // Opaque to us, and of use to the registry all the same.
  }
  return new Date(Date.now() + UNSAID_LIFE_MS);
}

/**
 * A refresh token for an Azure Container Registry, by the default credential chain of the Azure SDK.
 * @throws ReconcileError stalled SourceUnauthorized | transient SourceUnreachable
 */
export async function askAzure(ask: Ask): Promise<CloudCredentials> {
  const entraToken = await requestEntraToken(ask).catch((error: unknown) => {
    throw isRefusal(error) ? refusedBy('Azure', ask, telling(error), WHAT_TO_DO) : unreachable('Azure', ask, error);
  });
  const { status, token } = await exchange(entraToken, ask).catch((error: unknown) => {
    throw unreachable('Azure', ask, asReconcileError(error).message);
  });
  if (status === 400 || status === 401 || status === 403) {
    throw refusedBy('Azure', ask, `the registry answered ${status}`, WHAT_TO_DO);
  }
  if (status !== 200 || typeof token !== 'string' || token === '') {
    throw unreachable('Azure', ask, `the registry answered ${status} without a token`);
  }
  return { username: TOKEN_USER, identityToken: token, expiresAt: await expiryOf(token) };
}
