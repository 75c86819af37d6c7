import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '#core/config.ts';
import { createArtifactStore } from '#core/oci/cache.ts';
import { createConfiguredClient } from '#core/oci/configured-client.ts';
import { pushProgram } from '#core/oci/pack.ts';
import type { RegistryClient } from '#core/oci/registry-client.ts';
import { createTestAuthority } from '../../core/oci/test-certificates.ts';
import { serveDistribution, type Served } from './registries.ts';
import { findProgram } from './tools.ts';

const START_MS = 600_000;
const NAME = 'infra/shop';
const signal = () => AbortSignal.timeout(60_000);
const distribution = (await findProgram('registry-distribution')) ?? '';

let work: string;
beforeAll(async () => {
  work = await mkdtemp(join(tmpdir(), 'plumbline-mirror-'));
  await mkdir(join(work, 'program'));
  await writeFile(join(work, 'program/Pulumi.yaml'), 'name: shop\nruntime: yaml\n');
}, START_MS);
afterAll(() => rm(work, { recursive: true, force: true }));

/** A client as a worker has it, of a file of registries as an operator writes it. */
async function clientOf(registries: Record<string, object>): Promise<RegistryClient> {
  const file = join(work, 'registries.yaml');
  await writeFile(file, JSON.stringify({ registries }));
  return createConfiguredClient(loadConfig({ PLUMBLINE_REGISTRIES_FILE: file }), {});
}

const push = (client: RegistryClient, host: string, tag: string) =>
  pushProgram(client, { dir: join(work, 'program'), repository: { host, name: NAME }, tag }, signal());

async function pulled(client: RegistryClient, host: string, digest: string, cache: string): Promise<string> {
  const store = createArtifactStore({ dir: join(work, cache) });
  const request = { tenant: 'shop', client, repository: { host, name: NAME }, digest, signal: signal() };
  return readFile(join((await store.fetchArtifact(request)).dir, 'Pulumi.yaml'), 'utf8');
}

describe.skipIf(distribution === '')('a registry with a pull-through mirror, both distribution 3', () => {
  let registry: Served;
  let mirror: Served;
  beforeAll(async () => {
    registry = await serveDistribution(distribution);
    mirror = await serveDistribution(distribution, { more: { proxy: { remoteurl: `http://${registry.host}` } } });
  }, START_MS);
  afterAll(async () => {
    await registry?.close();
    await mirror?.close();
  });

  it('is pulled from by way of the mirror, and from the mirror alone when it is away', async () => {
    const client = await clientOf({
      [registry.host]: { plainHttp: true, mirrors: [{ host: mirror.host, plainHttp: true }] },
    });
    try {
      const { digest } = await push(client, registry.host, '1.0.0');
      expect((await client.resolve({ host: registry.host, name: NAME }, '1.0.0', signal())).digest).toBe(digest);
      expect(await pulled(client, registry.host, digest, 'first')).toContain('name: shop');
      await registry.close();
      expect(await pulled(client, registry.host, digest, 'second')).toContain('name: shop');
      // A name is not believed of a mirror unless that is set.
      const asked = client.resolve({ host: registry.host, name: NAME }, '1.0.0', signal());
      await expect(asked).rejects.toMatchObject({ reason: 'SourceUnreachable' });
    } finally {
      await client.close();
    }
  });
});

describe.skipIf(distribution === '')('distribution 3 with TLS that asks for a client certificate', () => {
  let registry: Served;
  beforeAll(async () => {
    const [servers, clients] = [await createTestAuthority('servers'), await createTestAuthority('clients')];
    const [server, client] = [await servers.issue('server'), await clients.issue('client')];
    const files = { ca: servers.cert, server: server.cert, serverKey: server.key, clients: clients.cert };
    const own = { client: client.cert, clientKey: client.key };
    for (const [name, text] of Object.entries({ ...files, ...own })) await writeFile(join(work, `${name}.pem`), text);
    const tls = {
      certificate: join(work, 'server.pem'),
      key: join(work, 'serverKey.pem'),
      clientcas: [join(work, 'clients.pem')],
    };
    registry = await serveDistribution(distribution, { more: { http: { tls } } });
  }, START_MS);
  afterAll(() => registry?.close());

  it('is pushed to and pulled from with the authority and certificate of its entry', async () => {
    const client = await clientOf({
      [registry.host]: { ca: 'ca.pem', clientCertificate: 'client.pem', clientKey: 'clientKey.pem' },
    });
    try {
      const { digest } = await push(client, registry.host, '1.0.0');
      expect(await pulled(client, registry.host, digest, 'tls')).toContain('name: shop');
    } finally {
      await client.close();
    }
  });

  it.each<[string, object]>([
    ['without the authority', { clientCertificate: 'client.pem', clientKey: 'clientKey.pem' }],
    ['without the client certificate', { ca: 'ca.pem' }],
  ])('is not spoken to %s', async (_, entry) => {
    const client = await clientOf({ [registry.host]: entry });
    try {
      const asked = client.resolve({ host: registry.host, name: NAME }, '1.0.0', signal());
      await expect(asked).rejects.toMatchObject({ reason: 'SourceUnreachable' });
    } finally {
      await client.close();
    }
  });
});
