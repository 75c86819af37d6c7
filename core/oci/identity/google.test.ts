import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startTestServer, type Reply, type Seen } from '../test-server.ts';
import { createCloudIdentity } from './cloud-credentials.ts';

const HOST = 'europe-west1-docker.pkg.dev';
const JSON_TYPE = { 'content-type': 'application/json' };

const ask = () => createCloudIdentity()('gcp', HOST, AbortSignal.timeout(20_000));

/** A worker with files of its own and no identity yet. */
async function withoutIdentity(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-google-'));
  vi.stubEnv('HOME', dir);
  vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', '');
  vi.stubEnv('METADATA_SERVER_DETECTION', 'none');
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await rm(dir, { recursive: true, force: true });
  });
  return dir;
}

async function startMetadata(token: () => Reply) {
  await withoutIdentity();
  const server = await startTestServer(({ url }) => {
    const flavour = { ...JSON_TYPE, 'metadata-flavor': 'Google' };
    if (!url.includes('/token')) return { headers: flavour, body: url.includes('universe') ? 'googleapis.com' : '{}' };
    const reply = token();
    return { ...reply, headers: { ...flavour, ...reply.headers } };
  });
  vi.stubEnv('METADATA_SERVER_DETECTION', 'assume-present');
  vi.stubEnv('GCE_METADATA_HOST', server.host);
  return server;
}

/** Workload identity federation: a file that says where the token of the pod is and who takes it. */
async function startFederation(answer: (seen: Seen) => Reply) {
  const dir = await withoutIdentity();
  const server = await startTestServer(answer);
  const subjectToken = join(dir, 'token');
  const file = join(dir, 'credentials.json');
  await writeFile(subjectToken, 'token-of-the-pod');
  const credentials = {
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/oidc',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: `${server.origin}/v1/token`,
    credential_source: { file: subjectToken },
  };
  await writeFile(file, JSON.stringify(credentials));
  vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', file);
  return server;
}

describe('workload identity on Google Cloud', { timeout: 30_000 }, () => {
  it('takes the token of the attached service account', async () => {
    const body = JSON.stringify({ access_token: 'ya29.metadata', expires_in: 3600, token_type: 'Bearer' });
    await startMetadata(() => ({ body }));
    const { expiresAt, ...credentials } = await ask();
    expect(credentials).toEqual({ username: 'oauth2accesstoken', password: 'ya29.metadata' });
    expect(expiresAt.getTime() - Date.now()).toBeGreaterThan(3_500_000);
  });

  it('exchanges the token of a pod elsewhere by federation', async () => {
    const server = await startFederation(() => ({
      headers: JSON_TYPE,
      body: JSON.stringify({ access_token: 'ya29.federated', expires_in: 600, token_type: 'Bearer' }),
    }));
    const { expiresAt, ...credentials } = await ask();
    expect(credentials).toEqual({ username: 'oauth2accesstoken', password: 'ya29.federated' });
    expect(expiresAt.getTime() - Date.now()).toBeLessThanOrEqual(600_000);
    const form = new URLSearchParams(server.seen[0]?.body.toString());
    expect(form.get('subject_token')).toBe('token-of-the-pod');
    expect(form.get('scope')).toBe('https://www.googleapis.com/auth/cloud-platform');
  });

  it('stalls when the pool turns the token away, without telling it', async () => {
    const body = JSON.stringify({ error: 'invalid_grant', error_description: 'token-of-the-pod is not for this pool' });
    await startFederation(() => ({ status: 400, headers: JSON_TYPE, body }));
    await expect(ask()).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'SourceUnauthorized',
      message: expect.stringContaining('roles/artifactregistry.reader'),
    });
  });

  it('stalls when the worker has no identity', async () => {
    await withoutIdentity();
    await expect(ask()).rejects.toMatchObject({ kind: 'stalled', reason: 'SourceUnauthorized' });
  });

  it('comes back when the metadata server fails', async () => {
    await startMetadata(() => ({ status: 500, body: '{}' }));
    await expect(ask()).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
  });
});
