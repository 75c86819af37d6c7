import { importPKCS8, SignJWT } from 'jose';
import { field, parseJson } from '../oci/body.ts';
import { ask, below, storeAddress, word } from './ask.ts';
import { cannotBeUsed, credential, notThere, storeFailed, type StoreContent, type StoreRead } from './port.ts';

const SERVICE = 'https://secretmanager.googleapis.com';
const TOKEN_URI = 'https://oauth2.googleapis.com/token';
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
/** A secret as Google's API names it. */
export const GCP_SECRET = /^projects\/[^/]+(?:\/locations\/[^/]+)?\/secrets\/[^/]+$/;

/** An access token by the key of a service account (RFC 7523, as Google's OAuth 2.0 for service accounts has it). */
async function accessToken(read: StoreRead): Promise<string> {
  const account = parseJson(Buffer.from(credential(read, 'GOOGLE_CREDENTIALS')));
  const [email, pem, uri = TOKEN_URI] = ['client_email', 'private_key', 'token_uri'].map((name) =>
    field(account, name),
  );
  if (typeof email !== 'string' || typeof pem !== 'string' || typeof uri !== 'string')
    throw cannotBeUsed(read, 'GOOGLE_CREDENTIALS of its credentials is no key of a service account (JSON)');
  const key = await importPKCS8(pem, 'RS256').catch(() => {
    throw cannotBeUsed(read, 'private_key in GOOGLE_CREDENTIALS is no key in PEM');
  });
  const url = storeAddress(read, uri);
  const assertion = await new SignJWT({ scope: SCOPE })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
    .setIssuer(email)
    .setAudience(uri)
    .setIssuedAt()
    .setExpirationTime('5m')
    .sign(key);
  const body = new URLSearchParams({ grant_type: GRANT, assertion }).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await ask(read, { method: 'POST', url, headers, body });
  const token = field(answer.body, 'access_token');
  if (answer.status !== 200 || typeof token !== 'string')
    throw storeFailed(read, `Google gives no token (${answer.status} ${word(field(answer.body, 'error'))})`);
  read.register(token);
  return token;
}

/** Google Cloud Secret Manager; `path` is `projects/…/secrets/…`, the version `latest` by default. */
export async function readGcp(read: StoreRead): Promise<StoreContent> {
  const { path, version = 'latest', address = SERVICE } = read.external;
  if (!GCP_SECRET.test(path)) throw cannotBeUsed(read, 'the path must be projects/<project>/secrets/<name>');
  const url = below(read, storeAddress(read, address), `v1/${path}/versions/${version}`);
  url.pathname += ':access';
  const authorization = `Bearer ${await accessToken(read)}`;
  const answer = await ask(read, { method: 'GET', url, headers: { authorization } });
  if (answer.status === 404) throw notThere(read, 'Google has no such secret or version');
  const data = field(field(answer.body, 'payload'), 'data');
  if (answer.status !== 200 || typeof data !== 'string') {
    const status = field(field(answer.body, 'error'), 'status');
    throw storeFailed(read, `Google answers ${answer.status} ${word(status)}`);
  }
  return { text: Buffer.from(data, 'base64').toString('utf8') };
}
