import { text } from 'node:stream/consumers';
import { createArtifactStore } from '#core/oci/cache.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';
import { inParallel } from './pull-artifacts.ts';

/** What the process is told on standard input. */
export interface PullOrder {
  host: string;
  name: string;
  tags: string[];
  /** Folder of the artifact cache, new and empty. */
  dir: string;
  atOnce: number;
}

/** Pulls as a worker does: resolved, digests checked, unpacked, renamed into place. Prints the folder of the last one. */
async function main(order: PullOrder): Promise<string> {
  const { host, name, tags, dir, atOnce } = order;
  const repository = { host, name };
  const client = createRegistryClient({ plainHttpHosts: [host] });
  const store = createArtifactStore({ dir });
  const signal = new AbortController().signal;
  let last = '';
  await inParallel(tags, atOnce, async (tag) => {
    const { digest } = await client.resolve(repository, tag, signal);
    const fetched = await store.fetchArtifact({ tenant: 'bench', client, repository, digest, signal });
    last = fetched.dir;
  });
  await client.close();
  return last;
}

const order: PullOrder = JSON.parse(await text(process.stdin));
process.stdout.write(await main(order));
