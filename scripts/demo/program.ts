import type { KeyObject } from 'node:crypto';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseRepository, type Repository } from '#core/domain/reference.ts';
import { pushProgram } from '#core/oci/pack.ts';
import { signArtifact } from '#core/oci/sign.ts';
import { createRegistryClient, type RegistryClient } from '#core/oci/registry-client.ts';

const source = join(import.meta.dirname, '../../stacks/postgres');
const PUSH_MS = 30_000;
const REPOSITORY = 'infra/postgres';

interface Desired {
  roles: { name: string; connectionLimit?: number }[];
  grants: { role: string }[];
}

/** The program as it lies in `stacks/postgres`. */
export async function writeFirstVersion(dir: string): Promise<string> {
  await cp(source, dir, { recursive: true, filter: (path) => basename(path) !== 'node_modules' });
  return dir;
}

/** Version 2: `shop_reader` may open 8 connections instead of 5, and `shop_api` is gone with its grants. */
export async function writeSecondVersion(dir: string): Promise<string> {
  await writeFirstVersion(dir);
  const file = join(dir, 'desired.json');
  const desired = JSON.parse(await readFile(file, 'utf8')) as Desired;
  const roles = desired.roles.filter((role) => role.name !== 'shop_api');
  for (const role of roles) if (role.name === 'shop_reader') role.connectionLimit = 8;
  const grants = desired.grants.filter((grant) => grant.role !== 'shop_api');
  await writeFile(file, `${JSON.stringify({ ...desired, roles, grants }, null, 2)}\n`);
  return dir;
}

/** A client of the demo's plain-HTTP registry, closed afterwards. */
export async function withRegistry<T>(
  registry: string,
  name: string,
  act: (client: RegistryClient, repository: Repository) => Promise<T>,
): Promise<T> {
  const client = createRegistryClient({ plainHttpHosts: [registry] });
  try {
    return await act(client, parseRepository(`oci://${registry}/${name}`));
  } finally {
    await client.close();
  }
}

/** Packs and pushes a program; the registry tells Plumbline by itself. Returns the digest. */
export async function publish(registry: string, dir: string, tag: string): Promise<string> {
  return await withRegistry(registry, REPOSITORY, async (client, repository) => {
    return (await pushProgram(client, { dir, repository, tag, annotations: {} }, AbortSignal.timeout(PUSH_MS))).digest;
  });
}

/** Attaches a signature by the demo's release key, as `plumb sign` and `cosign sign --key` do. */
export async function sign(registry: string, digest: string, key: KeyObject): Promise<void> {
  await withRegistry(registry, REPOSITORY, (client, repository) =>
    signArtifact(client, { repository, digest, key }, AbortSignal.timeout(PUSH_MS)),
  );
}

/** Moves a tag to a digest that is already there. */
export async function moveTag(registry: string, digest: string, tag: string): Promise<void> {
  await withRegistry(registry, REPOSITORY, async (client, repository) => {
    await client.tag(repository, digest, tag, AbortSignal.timeout(PUSH_MS));
  });
}
