import { field } from '../oci/body.ts';
import { ask, below, storeAddress, type StoreAnswer, type StoreRequest } from './ask.ts';
import { credential, notThere, storeFailed, textsOf, type StoreContent, type StoreRead } from './port.ts';

function headersOf({ external }: StoreRead, token?: string): Record<string, string> {
  return {
    'x-vault-request': 'true',
    ...(token !== undefined && { 'x-vault-token': token }),
    ...(external.namespace !== undefined && { 'x-vault-namespace': external.namespace }),
  };
}

/** What Vault says is wrong; it quotes no value. */
function refusal({ status, body }: StoreAnswer): string {
  const errors = field(body, 'errors');
  const said = Array.isArray(errors) ? errors.join('; ').replaceAll(/\s+/g, ' ').slice(0, 300) : '';
  return `it answers ${status}${said === '' ? '' : ` (${said})`}`;
}

/** Vault API, auth/approle. */
async function login(read: StoreRead, address: URL): Promise<string> {
  const { credentials } = read;
  if (credentials['roleId'] === undefined) return credential(read, 'token');
  const mount = credentials['approlePath'] ?? 'approle';
  const body = JSON.stringify({ role_id: credential(read, 'roleId'), secret_id: credential(read, 'secretId') });
  const url = below(read, address, `v1/auth/${mount}/login`);
  const answer = await ask(read, { method: 'POST', url, headers: headersOf(read), body });
  const token = field(field(answer.body, 'auth'), 'client_token');
  if (answer.status !== 200 || typeof token !== 'string')
    throw storeFailed(read, `the login failed: ${refusal(answer)}`);
  read.register(token);
  return token;
}

/** KV version 2 wraps what version 1 answers with into `data` beside `metadata` (Vault API, secret/kv). */
function contentOf(read: StoreRead, answer: StoreAnswer): StoreContent {
  const data = field(answer.body, 'data');
  const isWrapped = typeof field(data, 'metadata') === 'object' && field(data, 'data') !== undefined;
  const values = isWrapped ? field(data, 'data') : data;
  if (values === null) throw notThere(read, 'this version is deleted');
  if (typeof values !== 'object' || values === undefined)
    throw storeFailed(read, 'it answers with something that is no secret');
  return { values: textsOf(values) };
}

/**
 * Key-value engines of HashiCorp Vault and OpenBao, version 1 and 2. `path` is that of the API: `secret/data/shop/db` for
 * version 2, `kv/shop/db` for version 1.
 */
export async function readVault(read: StoreRead): Promise<StoreContent> {
  const address = storeAddress(read, read.external.address);
  const token = await login(read, address);
  const url = below(read, address, `v1/${read.external.path.replace(/^\/+/, '')}`);
  if (read.external.version !== undefined) url.searchParams.set('version', read.external.version);
  const request: StoreRequest = { method: 'GET', url, headers: headersOf(read, token) };
  const answer = await ask(read, request);
  if (answer.status === 404) throw notThere(read, 'Vault has nothing there');
  if (answer.status !== 200) throw storeFailed(read, refusal(answer));
  return contentOf(read, answer);
}
