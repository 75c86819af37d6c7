import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPairSync } from 'node:crypto';
import { jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ExternalSecret } from '../domain/manifest.ts';
import { createSecretStores } from './stores.ts';

let dir: string;
let registered: string[];
let server: Server | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'stores-'));
  registered = [];
});
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  await rm(dir, { recursive: true, force: true });
});

interface Answer {
  status?: number;
  body?: unknown;
  raw?: string;
}

/** A store that answers by path; what was asked is kept. */
async function serve(answer: (path: string, request: IncomingMessage, body: string) => Answer | 'never') {
  const asked: string[] = [];
  server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      asked.push(`${request.method} ${request.url}`);
      const given = answer(request.url ?? '', request, Buffer.concat(pieces).toString());
      if (given === 'never') return;
      response.writeHead(given.status ?? 200, { 'content-type': 'application/json' });
      response.end(given.raw ?? JSON.stringify(given.body ?? {}));
    });
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { origin: `http://127.0.0.1:${address.port}`, asked };
}

function read(
  external: ExternalSecret,
  more: {
    credentials?: Record<string, string>;
    environment?: Record<string, string>;
    tenant?: string;
    served?: string[];
    limitMs?: number;
  } = {},
) {
  const stores = createSecretStores({
    files: join(dir, 'files'),
    variables: 'SECRET_',
    tenants: more.served ?? [more.tenant ?? 'shop'],
    allTenants: async () => ['shop', 'shop-eu'],
    environment: more.environment ?? {},
    limitMs: more.limitMs ?? 5_000,
  });
  return stores({
    tenant: more.tenant ?? 'shop',
    name: 'db',
    external,
    credentials: more.credentials ?? {},
    signal: new AbortController().signal,
    register: (secret) => registered.push(secret),
  });
}

describe('files', () => {
  beforeEach(async () => {
    const tenant = join(dir, 'files', 'shop');
    await mkdir(join(tenant, 'db', '..data'), { recursive: true });
    await writeFile(join(tenant, 'db', '..data', 'password'), 'hunter22\n');
    await symlink('..data/password', join(tenant, 'db', 'password'));
    await writeFile(join(tenant, 'token'), 'tok-1234\r\n');
    await writeFile(join(tenant, 'all.json'), '{"user":"u","port":5432}');
    await mkdir(join(dir, 'files', 'bank'));
    await writeFile(join(dir, 'files', 'bank', 'key'), 'of the bank');
    await writeFile(join(dir, 'outside'), 'outside');
    await symlink('../bank/key', join(tenant, 'stolen'));
    await symlink(join(dir, 'outside'), join(tenant, 'db', 'escape'));
    await symlink('../bank', join(tenant, 'folder'));
  });

  it('of one file are a value, of JSON its keys, of a folder its files, as Kubernetes mounts them', async () => {
    expect(await read({ store: 'file', path: 'token' })).toEqual({ value: 'tok-1234' });
    expect(await read({ store: 'file', path: 'all.json' })).toEqual({ user: 'u', port: '5432' });
    await rm(join(dir, 'files', 'shop', 'db', 'escape'));
    expect(await read({ store: 'file', path: 'db' })).toEqual({ password: 'hunter22' });
    expect(registered).toEqual(['tok-1234', 'u', '5432', 'hunter22']);
  });

  it.each([
    ['../bank/key', 'leads out'],
    ['stolen', 'leads out'],
    ['folder', 'leads out'],
    ['folder/key', 'leads out'],
    ['db', 'leads out'],
    ['.', 'leads out'],
    ['nothing', 'no such file'],
    ['token/below', 'no such file'],
  ])('of another tenant or of none are refused: %s', async (path, why) => {
    await expect(read({ store: 'file', path })).rejects.toThrow(why);
    expect(registered).toEqual([]);
  });

  it('of a tenant without a folder say so', async () => {
    await expect(read({ store: 'file', path: 'token' }, { tenant: 'other' })).rejects.toMatchObject({
      reason: 'SecretNotFound',
    });
  });
});

describe('variables', () => {
  const environment = {
    SECRET_SHOP_TOKEN: 'tok',
    SECRET_SHOP_DB_USER: 'u',
    SECRET_SHOP_DB_PASSWORD: 'p',
    SECRET_SHOP_EU_DB_USER: 'eu',
    DATABASE_URL: 'x',
  };

  it('are one value, or the keys below a name', async () => {
    expect(await read({ store: 'environment', path: 'TOKEN' }, { environment })).toEqual({ value: 'tok' });
    expect(await read({ store: 'environment', path: 'DB' }, { environment })).toEqual({ USER: 'u', PASSWORD: 'p' });
    expect(await read({ store: 'environment', path: 'DB' }, { environment, tenant: 'shop-eu' })).toEqual({
      USER: 'eu',
    });
  });

  // The worker serves `shop` alone, and has the variables of all in one file.
  it.each(['EU_DB', 'EU', 'EU_DB_USER', 'NOTHING', ''])(
    'of a tenant whose name begins alike stay its own: %j',
    async (path) => {
      await expect(read({ store: 'environment', path }, { environment })).rejects.toMatchObject({
        reason: 'SecretNotFound',
      });
    },
  );
});

describe('Vault', () => {
  const kv2 = { data: { data: { password: 'v-pass', port: 1 }, metadata: { version: 3 } } };

  it('gives a version of a key-value engine 2 by a token, in a namespace', async () => {
    const headers: unknown[] = [];
    const { origin, asked } = await serve((_, request) => {
      headers.push(request.headers['x-vault-token'], request.headers['x-vault-namespace']);
      return { body: kv2 };
    });
    const external = {
      store: 'vault',
      address: origin,
      path: 'secret/data/shop/db',
      version: '3',
      namespace: 'team',
    } as const;
    expect(await read(external, { credentials: { token: 'root\n' } })).toEqual({ password: 'v-pass', port: '1' });
    expect(asked).toEqual(['GET /v1/secret/data/shop/db?version=3']);
    expect(headers).toEqual(['root', 'team']);
  });

  it('gives an engine 1 by an AppRole, and only the keys that are named', async () => {
    const { origin, asked } = await serve((path, _, body) => {
      if (path === '/v1/auth/approle/login')
        return { body: { auth: { client_token: body.includes('"role_id":"role"') ? 't-role' : 'other' } } };
      return { body: { data: { password: 'one', other: 'two' } } };
    });
    const external = { store: 'vault', address: origin, path: 'kv/shop', keys: { dbPassword: 'password' } } as const;
    const credentials = { roleId: 'role', secretId: 'secret-id' };
    expect(await read(external, { credentials })).toEqual({ dbPassword: 'one' });
    expect(asked).toEqual(['POST /v1/auth/approle/login', 'GET /v1/kv/shop']);
    expect(registered).toEqual(['t-role', 'one', 'two']);
  });

  it.each([
    [
      'refuses',
      { status: 403, body: { errors: ['permission denied'] } },
      'SecretStoreFailed',
      'answers 403 (permission denied)',
    ],
    ['is sealed', { status: 503, body: { errors: ['Vault is sealed'] } }, 'SecretStoreFailed', 'Vault is sealed'],
    ['has nothing there', { status: 404, body: {} }, 'SecretNotFound', 'nothing there'],
    ['has it deleted', { body: { data: { data: null, metadata: {} } } }, 'SecretNotFound', 'deleted'],
    ['has no such key', { body: kv2 }, 'SecretNotFound', 'no key user'],
    ['answers with HTML', { raw: '<html>' }, 'SecretStoreFailed', 'no secret'],
    ['answers with too much', { raw: 'x'.repeat(1_100_000) }, 'SecretStoreFailed', 'more than'],
    ['redirects', { status: 307, body: {} }, 'SecretStoreFailed', 'answers 307'],
    ['never answers', 'never', 'SecretStoreFailed', 'in time'],
  ] as const)('that %s is told apart', async (_, answer, reason, why) => {
    const { origin } = await serve(() => answer);
    const external = { store: 'vault', address: origin, path: 'secret/data/db', keys: { user: 'user' } } as const;
    const failed = read(external, { credentials: { token: 't' }, limitMs: 500 });
    await expect(failed).rejects.toMatchObject({ reason, message: expect.stringContaining(why) });
  });

  it.each([
    ['http://vault.example.com', 'must be https'],
    ['https://169.254.169.254', 'metadata service'],
    ['https://[fd00:ec2::254]', 'metadata service'],
    ['https://user:pass@vault.example.com', 'without user'],
    ['not a url', 'must be a URL'],
    [undefined, 'address is needed'],
  ])('at %s is not asked', async (address, why) => {
    const external = { store: 'vault', path: 'a/b', ...(address !== undefined && { address }) } as const;
    await expect(read(external, { credentials: { token: 't' } })).rejects.toMatchObject({
      reason: 'SpecInvalid',
      message: expect.stringContaining(why),
    });
  });

  it('is asked for no path that leads elsewhere, and not without credentials', async () => {
    const { origin, asked } = await serve(() => ({ body: kv2 }));
    await expect(
      read({ store: 'vault', address: origin, path: 'a/../../sys/x' }, { credentials: { token: 't' } }),
    ).rejects.toThrow('no . or ..');
    await expect(read({ store: 'vault', address: origin, path: 'a/b' })).rejects.toThrow('the key token');
    expect(asked).toEqual([]);
  });
});

describe('the clouds', () => {
  it('Google gives a version by the key of a service account', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const assertions: string[] = [];
    const { origin, asked } = await serve((path, request, body) => {
      if (path === '/token') {
        assertions.push(new URLSearchParams(body).get('assertion') ?? '');
        return { body: { access_token: 'g-token' } };
      }
      if (request.headers.authorization !== 'Bearer g-token')
        return { status: 401, body: { error: { status: 'UNAUTHENTICATED' } } };
      return { body: { payload: { data: Buffer.from('{"password":"g-pass"}').toString('base64') } } };
    });
    const account = {
      client_email: 'robot@p',
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      token_uri: `${origin}/token`,
    };
    const external = { store: 'gcp-secret-manager', path: 'projects/p/secrets/db', address: origin } as const;
    const credentials = { GOOGLE_CREDENTIALS: JSON.stringify(account) };
    expect(await read(external, { credentials })).toEqual({ password: 'g-pass' });
    expect(asked[1]).toBe('GET /v1/projects/p/secrets/db/versions/latest:access');
    const { payload } = await jwtVerify(assertions[0] ?? '', publicKey, { audience: `${origin}/token` });
    expect(payload).toMatchObject({ iss: 'robot@p', scope: expect.stringContaining('cloud-platform') });
    expect(registered).toEqual(['g-token', 'g-pass']);
    const broken = { GOOGLE_CREDENTIALS: '{"client_email":"x"}' };
    await expect(read(external, { credentials: broken })).rejects.toThrow('no key of a service account');
  });

  it('Azure gives a secret by the secret of an application, for the audience of its vault', async () => {
    const forms: string[] = [];
    const { origin, asked } = await serve((path, request, body) => {
      if (path === '/tenant-1/oauth2/v2.0/token') {
        forms.push(body);
        return { body: { access_token: 'a-token' } };
      }
      if (request.headers.authorization !== 'Bearer a-token') return { status: 401 };
      return path.includes('/gone') ? { status: 404 } : { body: { value: 'a-pass' } };
    });
    const credentials = {
      AZURE_TENANT_ID: 'tenant-1',
      AZURE_CLIENT_ID: 'app',
      AZURE_CLIENT_SECRET: 's',
      AZURE_AUTHORITY_HOST: origin,
    };
    const external = { store: 'azure-key-vault', address: origin, path: 'db', version: 'v1' } as const;
    expect(await read(external, { credentials })).toEqual({ value: 'a-pass' });
    expect(asked).toEqual(['POST /tenant-1/oauth2/v2.0/token', 'GET /secrets/db/v1?api-version=7.4']);
    expect(new URLSearchParams(forms[0]).get('scope')).toBe('https://vault.azure.net/.default');
    await expect(read({ ...external, path: 'gone' }, { credentials })).rejects.toMatchObject({
      reason: 'SecretNotFound',
    });
  });

  it('AWS that cannot be reached, and one that knows no such secret, are told apart', async () => {
    const { origin } = await serve((_, request) =>
      String(request.headers.authorization).includes('AKIAGOOD')
        ? { status: 400, body: { __type: 'ResourceNotFoundException', message: 'quotes things' } }
        : { status: 400, body: { __type: 'AccessDeniedException', message: 'quotes things' } },
    );
    const external = {
      store: 'aws-secrets-manager',
      path: 'shop/db',
      region: 'eu-central-1',
      address: origin,
    } as const;
    const keys = (id: string) => ({ credentials: { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: 's' } });
    await expect(read(external, keys('AKIAGOOD'))).rejects.toMatchObject({ reason: 'SecretNotFound' });
    await expect(read(external, keys('AKIABAD'))).rejects.toMatchObject({
      reason: 'SecretStoreFailed',
      message: expect.not.stringContaining('quotes'),
    });
    await expect(read({ store: 'aws-secrets-manager', path: 'x' }, keys('AKIAGOOD'))).rejects.toThrow(
      'region is needed',
    );
  });
});

describe('the loopback of a worker', () => {
  const from = (address: string, served: string[]) =>
    read(
      { store: 'vault', address, path: 'secret/data/db', credentials: 'vault' },
      { credentials: { token: 't0ken' }, served },
    );

  it('is the one tenant that it serves', async () => {
    const { origin } = await serve(() => ({ body: { data: { password: 'p4ss' } } }));
    expect(await from(origin, ['shop'])).toEqual({ password: 'p4ss' });
  });

  it.each([
    '127.0.0.1',
    '127.1.2.3',
    '2130706433',
    '0.0.0.0',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    'localhost',
    'a.LOCALHOST.',
  ])('is nobody of several: %s', async (host) => {
    await expect(from(`https://${host}:8200`, ['shop', 'bank'])).rejects.toMatchObject({
      reason: 'SpecInvalid',
      message: expect.stringContaining('is the worker itself'),
    });
  });
});
