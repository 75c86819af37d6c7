import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { parseRepository } from '#core/domain/reference.ts';
import { pushProgram } from '#core/oci/pack.ts';
import type { Descriptor } from '#core/oci/port.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';
import { signArtifact } from '#core/oci/sign.ts';
import { readSigningKey } from '#core/oci/sign-key.ts';
import { startRegistry, type RegistryOptions } from '../../registry/server.ts';
import type { FakeProgram } from './fake-engine.ts';

const REQUEST_MS = 10_000;

/** A registry with what a test does to it; repositories lie below `infra/`. */
export interface TestRegistry {
  host: string;
  /** Packs and pushes a fake program; returns its digest. */
  push(program: FakeProgram | Record<string, string>, tag?: string, repository?: string): Promise<string>;
  moveTag(digest: string, tag: string, repository?: string): Promise<void>;
  /** Attaches a signature by a private key in PEM. */
  sign(digest: string, key: string, repository?: string): Promise<void>;
  /** What is attached to a digest. */
  attached(digest: string, repository?: string): Promise<Descriptor[]>;
  /** Stops the registry, or starts it again where it was. */
  registryAway(away: boolean): Promise<void>;
  close(): Promise<void>;
}

async function writeProgram(dir: string, program: FakeProgram | Record<string, string>): Promise<void> {
  const files =
    'resources' in program
      ? { 'Pulumi.yaml': 'name: shop\nruntime: nodejs\n', 'program.json': JSON.stringify(program) }
      : program;
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(dir, name)), { recursive: true });
    await writeFile(join(dir, name), String(text));
  }
}

/** Starts one below `dir`, where the programs are written as well. */
export async function startTestRegistry(
  dir: string,
  notifications: RegistryOptions['notifications'] = [],
): Promise<TestRegistry> {
  const own = { dir: join(dir, 'registry'), notifications };
  let registry = await startRegistry(own);
  const host = `127.0.0.1:${registry.port}`;
  const client = createRegistryClient({ plainHttpHosts: [host] });
  const at = (repository: string) => parseRepository(`oci://${host}/infra/${repository}`);
  const limit = () => AbortSignal.timeout(REQUEST_MS);
  let pushes = 0;
  return {
    host,
    async push(program, tag = 'prod', repository = 'shop') {
      const folder = join(dir, `program-${(pushes += 1)}`);
      await mkdir(folder);
      await writeProgram(folder, program);
      const pushed = { dir: folder, repository: at(repository), tag, annotations: {} };
      return (await pushProgram(client, pushed, limit())).digest;
    },
    async moveTag(digest, tag, repository = 'shop') {
      await client.tag(at(repository), digest, tag, limit());
    },
    async sign(digest, key, repository = 'shop') {
      await signArtifact(client, { repository: at(repository), digest, key: await readSigningKey(key) }, limit());
    },
    attached: (digest, repository = 'shop') => client.referrers(at(repository), digest, {}, limit()),
    async registryAway(away) {
      if (away) await registry.close();
      else registry = await startRegistry({ ...own, port: registry.port });
    },
    async close() {
      await registry.close();
      await client.close();
    },
  };
}
