import { cp, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseRepository } from '#core/domain/reference.ts';
import { contentOf } from '#core/oci/content.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_MANIFEST } from '#core/oci/media-types.ts';
import { packProgram } from '#core/oci/pack.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';

const source = join(import.meta.dirname, '../stacks/postgres');
const PUSH_MS = 30_000;

export const REPOSITORY = 'infra/bench';
export const TAG = 'prod';
/** The data file the bare script's stack reads: the same objects under other names, in the same cluster. */
export const BARE_DESIRED = 'desired-bare.json';

interface Desired {
  roles: { name: string; connectionLimit?: number }[];
}

/** A revision whose blobs the registry has already; only its tag is still to be moved. */
export interface Revision {
  digest: string;
  /** Pushes the manifest under the tag, which is when the registry notifies. */
  release(): Promise<void>;
}

export interface Revisions {
  /** Makes and uploads the next revision: one role of each stack gets another connection limit. */
  next(signal: AbortSignal): Promise<Revision>;
  close(): Promise<void>;
}

async function writeRevision(dir: string, number: number): Promise<void> {
  await cp(source, dir, { recursive: true, filter: (path) => basename(path) !== 'node_modules' });
  const file = join(dir, 'desired.json');
  const desired: Desired = JSON.parse(await readFile(file, 'utf8'));
  for (const role of desired.roles) if (role.name === 'shop_reader') role.connectionLimit = 5 + number;
  const text = JSON.stringify(desired, null, 2);
  await writeFile(file, text);
  await writeFile(join(dir, BARE_DESIRED), text.replaceAll('"shop', '"bare'));
}

/** Revisions of `stacks/postgres` in the registry at `host:port`, one after the other; `dir` keeps their files. */
export function createRevisions(registry: string, dir: string): Revisions {
  const client = createRegistryClient({ plainHttpHosts: [registry] });
  const repository = parseRepository(`oci://${registry}/${REPOSITORY}`);
  let made = 0;
  return {
    async next(signal) {
      const number = made++;
      const limit = AbortSignal.any([signal, AbortSignal.timeout(PUSH_MS)]);
      const folder = join(dir, `revision-${number}`);
      await writeRevision(folder, number);
      const { layers, manifest, digest } = await packProgram({ dir: folder }, dir, limit);
      for (const layer of layers) await client.pushBlob(repository, layer, limit);
      await client.pushBlob(repository, contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG), limit);
      const release = async () => {
        const pushing = AbortSignal.any([signal, AbortSignal.timeout(PUSH_MS)]);
        await client.pushManifest(repository, TAG, { bytes: manifest, mediaType: OCI_MANIFEST }, pushing);
      };
      return { digest, release };
    },
    close: () => client.close(),
  };
}
