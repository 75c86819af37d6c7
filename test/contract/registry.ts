import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createArtifactStore } from '#core/oci/cache.ts';
import { readManifest } from '#core/oci/content.ts';
import { packProgram, pushProgram } from '#core/oci/pack.ts';
import type { RegistryCredentials } from '#core/oci/port.ts';
import { createRegistryClient, type RegistryClient } from '#core/oci/registry-client.ts';
import { selectTag } from '#core/oci/semver.ts';

/** A registry that is up: where it listens by plain HTTP, and who may use it. */
export interface StartedRegistry {
  host: string;
  credentials?: RegistryCredentials;
  /** Its token server, where it has one, by plain HTTP too. */
  tokens?: { host: string };
  /** It has an empty list of tags where the specification wants 404 for a repository that does not exist. */
  knowsEveryRepository?: boolean;
  close(): Promise<void>;
}

const LIMIT_MS = 30_000;

/** What our client and any registry must do together; run against each registry there is. */
export function describeRegistry(name: string, start: () => Promise<StartedRegistry>): void {
  describe(`the registry client with ${name}`, () => {
    const signal = () => AbortSignal.timeout(LIMIT_MS);
    let registry: StartedRegistry;
    let client: RegistryClient;
    let scratch: string;
    let dir: string;
    const repository = () => ({ host: registry.host, name: 'infra/contract' });
    const push = (tag: string) => pushProgram(client, { dir, repository: repository(), tag }, signal());

    beforeAll(async () => {
      registry = await start();
      const { credentials, tokens } = registry;
      const plainHttpHosts = [registry.host, ...(tokens === undefined ? [] : [tokens.host])];
      client = createRegistryClient({ plainHttpHosts, credentials: () => credentials });
      scratch = await mkdtemp(join(tmpdir(), 'plumbline-contract-'));
      dir = join(scratch, 'program');
      await mkdir(join(dir, 'lib'), { recursive: true });
      await writeFile(join(dir, 'Pulumi.yaml'), 'name: contract\nruntime: yaml\n');
      await writeFile(join(dir, 'lib', 'data.bin'), Buffer.alloc(300_000, 'plumb'));
    });
    afterAll(async () => {
      await client?.close();
      await registry?.close();
      await rm(scratch, { recursive: true, force: true });
    });

    it('pushes a program and finds it again by tag, digest and version', async () => {
      const pushed = await push('1.0.0');
      expect(pushed.digest).toBe((await packProgram({ dir }, await mkdtemp(join(scratch, 'pack-')), signal())).digest);
      const byTag = await client.resolve(repository(), '1.0.0', signal());
      expect(byTag.digest).toBe(pushed.digest);
      expect(await client.resolve(repository(), pushed.digest, signal())).toEqual(byTag);
      expect(selectTag(await client.tags(repository(), signal()), { range: '^1' })).toBe('1.0.0');
    });

    it('pushes the same files again without sending them', async () => {
      await push('1.0.1');
      expect(await push('1.0.2')).toMatchObject({ existed: true });
    });

    it('moves a tag to what another names', async () => {
      const { digest } = await push('1.1.0');
      await client.tag(repository(), '1.1.0', 'prod', signal());
      expect((await client.resolve(repository(), 'prod', signal())).digest).toBe(digest);
    });

    it('unpacks what was pushed', async () => {
      const { digest } = await push('1.2.0');
      const store = createArtifactStore({ dir: join(scratch, 'cache') });
      const request = { tenant: 'shop', client, repository: repository(), digest, signal: signal() };
      const fetched = await store.fetchArtifact(request);
      expect(await readFile(join(fetched.dir, 'Pulumi.yaml'), 'utf8')).toBe('name: contract\nruntime: yaml\n');
      expect((await readFile(join(fetched.dir, 'lib', 'data.bin'))).byteLength).toBe(300_000);
    });

    it('lists every tag', async () => {
      const { digest } = await push('page-0');
      for (let tag = 1; tag <= 5; tag += 1) await client.tag(repository(), digest, `page-${tag}`, signal());
      const tags = (await client.tags(repository(), signal())).filter((tag) => tag.startsWith('page-'));
      expect(tags.toSorted()).toEqual(['page-0', 'page-1', 'page-2', 'page-3', 'page-4', 'page-5']);
    });

    it('says what is not there', async () => {
      const missing = { kind: 'transient', reason: 'SourceNotFound' };
      await expect(client.resolve(repository(), 'no-such-tag', signal())).rejects.toMatchObject(missing);
      const digest = `sha256:${'0'.repeat(64)}`;
      await expect(readManifest(client, repository(), digest, signal())).rejects.toMatchObject(missing);
      const nowhere = { host: registry.host, name: 'no/such/repository' };
      const tags = client.tags(nowhere, signal());
      if (registry.knowsEveryRepository === true) expect(await tags).toEqual([]);
      else await expect(tags).rejects.toMatchObject(missing);
    });

    it('says when the credentials are wrong', async (context) => {
      context.skip(registry.credentials === undefined, 'this registry asks for no credentials');
      const stranger = client.withCredentials({ username: 'nobody', password: 'wrong' });
      const refused = { kind: 'stalled', reason: 'SourceUnauthorized' };
      await expect(stranger.resolve(repository(), 'prod', signal())).rejects.toMatchObject(refused);
      const anonymous = client.withCredentials(undefined);
      await expect(anonymous.resolve(repository(), 'prod', signal())).rejects.toMatchObject(refused);
    });
  });
}
