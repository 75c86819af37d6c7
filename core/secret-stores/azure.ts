import { field } from '../oci/body.ts';
import { ask, below, storeAddress, word } from './ask.ts';
import { credential, notThere, storeFailed, type StoreContent, type StoreRead } from './port.ts';

const AUTHORITY = 'https://login.microsoftonline.com';
const API_VERSION = '7.4';
/** The audience of a vault is its cloud's: `shop.vault.azure.net` → `https://vault.azure.net`. */
const VAULT = /^[^.]+\.(vault\..+|managedhsm\..+)$/;

/** A token for an application by its secret (Microsoft identity platform, client credentials). */
async function accessToken(read: StoreRead, address: URL): Promise<string> {
  const authority = storeAddress(read, read.credentials['AZURE_AUTHORITY_HOST'] ?? AUTHORITY);
  const url = below(read, authority, `${credential(read, 'AZURE_TENANT_ID')}/oauth2/v2.0/token`);
  const audience = VAULT.exec(address.hostname)?.[1] ?? 'vault.azure.net';
  const form = {
    grant_type: 'client_credentials',
    client_id: credential(read, 'AZURE_CLIENT_ID'),
    client_secret: credential(read, 'AZURE_CLIENT_SECRET'),
    scope: `https://${audience}/.default`,
  };
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await ask(read, { method: 'POST', url, headers, body: new URLSearchParams(form).toString() });
  const token = field(answer.body, 'access_token');
  if (answer.status !== 200 || typeof token !== 'string')
    throw storeFailed(read, `Entra ID gives no token (${answer.status} ${word(field(answer.body, 'error'))})`);
  read.register(token);
  return token;
}

/** Azure Key Vault, secrets; `address` is that of the vault, `path` the name of the secret. */
export async function readAzure(read: StoreRead): Promise<StoreContent> {
  const { path, version } = read.external;
  const address = storeAddress(read, read.external.address);
  const url = below(read, address, version === undefined ? `secrets/${path}` : `secrets/${path}/${version}`);
  url.searchParams.set('api-version', API_VERSION);
  const authorization = `Bearer ${await accessToken(read, address)}`;
  const answer = await ask(read, { method: 'GET', url, headers: { authorization } });
  if (answer.status === 404) throw notThere(read, 'the vault has no such secret or version');
  const value = field(answer.body, 'value');
  if (answer.status === 200 && typeof value === 'string') return { text: value };
  const code = field(field(answer.body, 'error'), 'code');
  throw storeFailed(read, `Key Vault answers ${answer.status} ${word(code)}`);
}
