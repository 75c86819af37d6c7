import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createTestAuthority } from '../test-certificates.ts';
import { startTestServer, type Reply } from '../test-server.ts';
import { createCloudIdentity } from './cloud-credentials.ts';

const HOST = 'myregistry.azurecr.io';
const TENANT = '11111111-2222-3333-4444-555555555555';
const FEDERATED = 'federated-token-of-the-pod';

interface EntraOptions {
  status?: number;
  /** What discovery answers. */
  discovery?: number;
  answer?: object;
}

/** Entra ID, as far as a federated credential needs it: discovery and the token endpoint, by HTTPS. */
async function startEntra({ status = 200, discovery = 200, answer = {} }: EntraOptions) {
  const authority = await createTestAuthority();
  const { cert, key } = await authority.issue('server');
  const grants: URLSearchParams[] = [];
  const server = createServer({ cert, key }, (request, response) => {
    const origin = `https://${request.headers.host}/${TENANT}`;
    response.setHeader('content-type', 'application/json');
    if (request.method === 'GET') {
      const endpoints = {
        token_endpoint: `${origin}/oauth2/v2.0/token`,
        authorization_endpoint: `${origin}/oauth2/v2.0/authorize`,
        issuer: `${origin}/v2.0`,
        jwks_uri: `${origin}/discovery/v2.0/keys`,
      };
      response.statusCode = discovery;
      response.end(JSON.stringify(discovery === 200 ? endpoints : {}));
      return;
    }
    void text(request).then((form) => {
      grants.push(new URLSearchParams(form));
      response.statusCode = status;
      response.end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { authority: `https://127.0.0.1:${address.port}`, ca: authority.cert, grants };
}

/** A pod with the variables that the webhook of Azure Workload Identity sets, and its registry. */
async function startAzure(entraOptions: EntraOptions, exchange: () => Reply) {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-azure-'));
  const file = join(dir, 'token');
  await writeFile(file, FEDERATED);
  vi.stubEnv('AZURE_TENANT_ID', TENANT);
  vi.stubEnv('AZURE_CLIENT_ID', 'the-client');
  vi.stubEnv('AZURE_FEDERATED_TOKEN_FILE', file);
  vi.stubEnv('AZURE_TOKEN_CREDENTIALS', 'WorkloadIdentityCredential');
  onTestFinished(async () => {
    vi.unstubAllEnvs();
    await rm(dir, { recursive: true, force: true });
  });
  const { grants, ...entra } = await startEntra(entraOptions);
  const registry = await startTestServer(exchange);
  const identity = createCloudIdentity({ endpoints: { azure: { ...entra, registry: registry.origin } } });
  return { grants, registry, ask: () => identity('azure', HOST, AbortSignal.timeout(20_000)) };
}

const granted = { answer: { access_token: 'entra-token', token_type: 'Bearer', expires_in: 3600 } };
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const refreshToken = (exp: number) => `${part({ alg: 'RS256' })}.${part({ exp })}.c2ln`;

describe('workload identity on Azure', { timeout: 30_000 }, () => {
  it('turns the token of the pod into a refresh token of the registry', async () => {
    const exp = Math.floor(Date.now() / 1000) + 10_800;
    const body = JSON.stringify({ refresh_token: refreshToken(exp) });
    const { grants, registry, ask } = await startAzure(granted, () => ({ body }));
    expect(await ask()).toEqual({
      username: '00000000-0000-0000-0000-000000000000',
      identityToken: refreshToken(exp),
      expiresAt: new Date(exp * 1000),
    });
    expect(Object.fromEntries(grants[0] ?? [])).toMatchObject({
      client_id: 'the-client',
      client_assertion: FEDERATED,
      scope: expect.stringContaining('https://containerregistry.azure.net/.default'),
    });
    expect(registry.seen).toMatchObject([{ method: 'POST', url: '/oauth2/exchange' }]);
    expect(Object.fromEntries(new URLSearchParams(registry.seen[0]?.body.toString()))).toEqual({
      grant_type: 'access_token',
      service: HOST,
      access_token: 'entra-token',
    });
  });

  it('stalls when Entra ID turns the identity away, and tells no token', async () => {
    const answer = { error: 'unauthorized_client', error_description: `AADSTS700016: ${'x'.repeat(80)} unknown` };
    const { ask } = await startAzure({ status: 401, answer }, () => ({}));
    const error: unknown = await ask().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: 'stalled', reason: 'SourceUnauthorized' });
    expect(error).toMatchObject({ message: expect.stringMatching(/AADSTS700016.*AcrPull/) });
    expect(String(error)).not.toContain(FEDERATED);
  });

  it.each<[string, EntraOptions]>([
    ['is away', { discovery: 503 }],
    ['fails', { status: 503, answer: { error: 'temporarily_unavailable' } }],
    ['throttles', { status: 429, answer: { error: 'throttled_request' } }],
  ])('comes back when Entra ID %s', async (_, entra) => {
    const { ask } = await startAzure(entra, () => ({}));
    await expect(ask()).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
  });

  it.each([
    [401, 'stalled', 'SourceUnauthorized'],
    [400, 'stalled', 'SourceUnauthorized'],
    [503, 'transient', 'SourceUnreachable'],
    [200, 'transient', 'SourceUnreachable'],
  ])('when the registry answers %i without a token is %s', async (status, kind, reason) => {
    const { ask } = await startAzure(granted, () => ({ status, body: '{"errors":[{"code":"UNAUTHORIZED"}]}' }));
    const error: unknown = await ask().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind, reason });
    expect(String(error)).not.toContain('entra-token');
  });
});
