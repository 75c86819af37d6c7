import { gzipSync } from 'node:zlib';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pack } from 'tar-stream';
import { createArtifactStore } from './cache.ts';
import { digestOf } from './digest.ts';
import { EMPTY_CONFIG, OCI_MANIFEST, PROGRAM_ARTIFACT, PROGRAM_LAYER } from './media-types.ts';
import type { Fetcher, Resolver } from './port.ts';

/** One of several processes that use a cache at once; prints how often it found what it asked for, and fetched it anew. */
const [dir = '', rounds = '0', minIdleMs = '0'] = process.argv.slice(2);

const PROGRAMS = 40;
const FILES = 5;
const blobs = new Map<string, Buffer>();
const repository = { host: 'r.io', name: 'shop' };
const signal = AbortSignal.timeout(60_000);

function keep(bytes: Buffer): { digest: string; size: number } {
  blobs.set(digestOf(bytes), bytes);
  return { digest: digestOf(bytes), size: bytes.byteLength };
}

async function program(number: number): Promise<string> {
  const archive = pack();
  for (let file = 0; file < FILES; file += 1) archive.entry({ name: `f${file}` }, `${number}`.repeat(10_000));
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) if (chunk instanceof Buffer) chunks.push(chunk);
  const layers = [{ mediaType: PROGRAM_LAYER, ...keep(gzipSync(Buffer.concat(chunks))) }];
  const config = { mediaType: EMPTY_CONFIG, ...keep(Buffer.from('{}')) };
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, artifactType: PROGRAM_ARTIFACT, config, layers };
  return keep(Buffer.from(JSON.stringify(manifest))).digest;
}

const client: Resolver & Fetcher = {
  resolve: async (_, digest) => ({ mediaType: OCI_MANIFEST, digest, size: blobs.get(digest)?.byteLength ?? 0 }),
  async fetch(_, { digest }) {
    return (async function* (): AsyncGenerator<Uint8Array, void> {
      yield blobs.get(digest) ?? Buffer.alloc(0);
    })();
  },
};

const digests = await Promise.all(Array.from({ length: PROGRAMS }, (_, number) => program(number)));
const store = createArtifactStore({ dir, maxBytes: 1, minIdleMs: Number(minIdleMs) });
let [found, anew] = [0, 0];
for (let round = 0; round < Number(rounds); round += 1) {
  const number = Math.floor(Math.random() * PROGRAMS);
  const fetched = await store.fetchArtifact({
    tenant: 'shop',
    client,
    repository,
    digest: digests[number] ?? '',
    signal,
  });
  if (!fetched.cached) anew += 1;
  for (let file = 0; file < FILES; file += 1) {
    const text = await readFile(join(fetched.dir, `f${file}`), 'utf8');
    if (text === `${number}`.repeat(10_000)) found += 1;
  }
  await delay(Math.random() * 30);
}
process.stdout.write(JSON.stringify({ found, anew }));
