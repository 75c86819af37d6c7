import { field } from '../body.ts';
import { refusedBy, unreachable, type Ask, type CloudCredentials } from './ask.ts';

const SCOPE = 'https://www.googleapis.com/auth/cloud-platform';
/** User name that goes with an access token (Artifact Registry, "Authenticate with an access token"). */
const TOKEN_USER = 'oauth2accesstoken';
/** Where the library does not say when the token ends; the metadata server gives them at least five minutes. */
const UNSAID_LIFE_MS = 5 * 60_000;
const WHAT_TO_DO =
  'give the worker a service account (Workload Identity, an attached one, or federation) with roles/artifactregistry.reader';
/** What the library says when it finds no identity, for it has no code for that. */
const NOTHING_FOUND = /default credentials|does not exist, or it is not a file|no access token/i;

function isRefusal(error: unknown): boolean {
  const status = Number(field(field(error, 'response'), 'status') ?? field(error, 'status'));
  if (status >= 400 && status < 500) return status !== 408 && status !== 429;
  return NOTHING_FOUND.test(String(field(error, 'message')));
}

async function requestToken(): Promise<CloudCredentials> {
  const { GoogleAuth } = await import('google-auth-library');
  // Without a project the library looks for one, which needs an API and a permission that nothing here uses.
  const client = await new GoogleAuth({ scopes: [SCOPE], projectId: 'plumbline' }).getClient();
  const { token } = await client.getAccessToken();
  if (typeof token !== 'string' || token === '') throw new Error('no access token');
  const expiresAt = new Date(client.credentials.expiry_date ?? Date.now() + UNSAID_LIFE_MS);
  return { username: TOKEN_USER, password: token, expiresAt };
}

/**
 * An access token for Artifact Registry or gcr.io, by Google's application default credentials.
 * @throws ReconcileError stalled SourceUnauthorized | transient SourceUnreachable
 */
export async function askGoogle(ask: Ask): Promise<CloudCredentials> {
  return requestToken().catch((error: unknown) => {
    throw isRefusal(error)
      ? refusedBy('Google Cloud', ask, error, WHAT_TO_DO)
      : unreachable('Google Cloud', ask, error);
  });
}
