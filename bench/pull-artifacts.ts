import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import type { Repository } from '#core/domain/reference.ts';
import { contentOf } from '#core/oci/content.ts';
import { digestOf } from '#core/oci/digest.ts';
import {
  EMPTY_CONFIG,
  EMPTY_CONFIG_BYTES,
  OCI_MANIFEST,
  OCI_TAR_GZIP,
  TITLE,
  UNPACK,
  UNPACKED_DIGEST,
} from '#core/oci/media-types.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';

/** The folder both sides unpack, and the file in it that makes each artifact another one. */
export const FOLDER = 'program';
export const FILLING = `${FOLDER}/data.bin`;

const PUSH_MS = 300_000;
const AT_ONCE = 4;
/** Random bytes do not get smaller; nobody should wait for the attempt. */
const COMPRESSION = { level: 1 };

async function tarOf(bytes: number): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: `${FOLDER}/Pulumi.yaml` }, 'name: pulled\nruntime: yaml\n');
  archive.entry({ name: FILLING }, randomBytes(bytes));
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) if (chunk instanceof Buffer) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/**
 * Pushes `count` artifacts of `bytes` random bytes, each a folder as `oras push` packs it, under the tags `v0`, `v1`, …,
 * so that `oras pull` has to unpack and check the same as we do.
 */
export async function pushFolders(
  repository: Repository,
  { count, bytes }: { count: number; bytes: number },
  signal: AbortSignal,
): Promise<string[]> {
  const client = createRegistryClient({ plainHttpHosts: [repository.host] });
  const limit = AbortSignal.any([signal, AbortSignal.timeout(PUSH_MS)]);
  const tags = Array.from({ length: count }, (_, index) => `v${index}`);
  const config = contentOf(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
  const push = async (tag: string): Promise<void> => {
    const tar = await tarOf(bytes);
    const layer = contentOf(gzipSync(tar, COMPRESSION), OCI_TAR_GZIP);
    const annotations = { [TITLE]: FOLDER, [UNPACK]: 'true', [UNPACKED_DIGEST]: digestOf(tar) };
    const manifest = {
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      artifactType: 'application/vnd.unknown.artifact.v1',
      config: config.descriptor,
      layers: [{ ...layer.descriptor, annotations }],
    };
    await client.pushBlob(repository, layer, limit);
    const pushed = { bytes: Buffer.from(JSON.stringify(manifest)), mediaType: OCI_MANIFEST };
    await client.pushManifest(repository, tag, pushed, limit);
  };
  try {
    await client.pushBlob(repository, config, limit);
    await inParallel(tags, AT_ONCE, push);
    return tags;
  } finally {
    await client.close();
  }
}

/** Does `work` with every item, so many at a time. */
export async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items.values();
  const worker = async () => {
    for (const item of rest) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
