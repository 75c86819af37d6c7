import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cachedFetcher, createBlobCache } from '#core/oci/blob-cache.ts';
import { createLayout } from '#core/oci/layout.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';
import { temporaryRegistry } from '../harness/temporary-registry.ts';
import { startWithoutReferrers } from '../harness/without-referrers.ts';
import { describeSource, type StartedSource } from './source.ts';

const NAME = 'infra/contract';
const hexPath = (digest: string) => digest.replace(':', '/');

const spoilIn = (dir: string) => (digest: string, bytes: Buffer) =>
  writeFile(join(dir, 'repositories', NAME, '_blobs', hexPath(digest)), bytes);

async function startRegistry(chunkBytes?: number): Promise<StartedSource> {
  const registry = await temporaryRegistry();
  const host = `127.0.0.1:${registry.port}`;
  const client = createRegistryClient({ plainHttpHosts: [host], ...(chunkBytes === undefined ? {} : { chunkBytes }) });
  return {
    source: client,
    pusher: client,
    repository: { host, name: NAME },
    spoil: spoilIn(registry.dir),
    async close() {
      await client.close();
      await registry.close();
    },
  };
}

describeSource('a registry', () => startRegistry());

describeSource('a registry that is sent chunks', () => startRegistry(700));

describeSource('a registry without the referrers API', async () => {
  const registry = await temporaryRegistry();
  const front = await startWithoutReferrers(registry.port);
  const client = createRegistryClient({ plainHttpHosts: [front.host] });
  return {
    source: client,
    pusher: client,
    repository: { host: front.host, name: NAME },
    spoil: spoilIn(registry.dir),
    async close() {
      await client.close();
      await front.close();
      await registry.close();
    },
  };
});

describeSource('a registry behind a cache', async () => {
  const started = await startRegistry();
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-blobs-'));
  const cache = createBlobCache({ dir });
  return {
    ...started,
    source: { ...started.source, ...cachedFetcher(started.source, { cache, tenant: 'shop' }) },
    async close() {
      await started.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
});

describeSource('an OCI image layout', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-layout-'));
  const layout = createLayout(join(dir, 'layout'));
  return {
    source: layout,
    pusher: layout,
    repository: { host: 'oci-layout', name: 'any' },
    async spoil(digest, bytes) {
      const path = join(dir, 'layout', 'blobs', hexPath(digest));
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, bytes);
    },
    close: () => rm(dir, { recursive: true, force: true }),
  };
});
