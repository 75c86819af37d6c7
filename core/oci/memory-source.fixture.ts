import { gzipSync } from 'node:zlib';
import { transient } from '#core/domain/errors.ts';
import { checked, digestOf } from './digest.ts';
import { EMPTY_CONFIG, OCI_MANIFEST, PROGRAM_ARTIFACT, PROGRAM_LAYER } from './media-types.ts';
import type { Descriptor, Fetcher, Resolver } from './port.ts';
import { makeTar, type TarItem } from './test-tar.ts';

/** Content by digest, as a registry holds it; `blobs` are given out as they are, so a test can spoil one. */
export interface MemoryContent {
  manifests: Map<string, { bytes: Buffer; mediaType: string }>;
  blobs: Map<string, Buffer>;
  asked: string[];
}

export function fetcherOf(content: MemoryContent): Resolver & Fetcher {
  return {
    async resolve(_, digest) {
      const found = content.manifests.get(digest);
      if (found === undefined) throw transient('SourceNotFound', 'no such manifest');
      return { mediaType: found.mediaType, digest, size: found.bytes.byteLength };
    },
    async fetch(_, { digest, size }) {
      const manifest = content.manifests.get(digest)?.bytes;
      content.asked.push(manifest === undefined ? 'blob' : 'manifest');
      const bytes = manifest ?? content.blobs.get(digest) ?? Buffer.alloc(0);
      const stream = (async function* (): AsyncGenerator<Uint8Array, void> {
        yield bytes;
      })();
      return checked(stream, { digest, size, what: 'blob' });
    },
  };
}

export function addManifest(content: MemoryContent, manifest: object, mediaType = OCI_MANIFEST): string {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...manifest }));
  content.manifests.set(digestOf(bytes), { bytes, mediaType });
  return digestOf(bytes);
}

/** A gzipped tar of these entries as a blob. */
export async function addLayer(content: MemoryContent, mediaType: string, items: TarItem[]): Promise<Descriptor> {
  const layer = gzipSync(await makeTar(items));
  content.blobs.set(digestOf(layer), layer);
  return { mediaType, digest: digestOf(layer), size: layer.byteLength };
}

/** A program of our own type. */
export async function addProgram(
  content: MemoryContent,
  items: TarItem[],
  annotations: Record<string, string> = {},
  more: Descriptor[] = [],
): Promise<string> {
  const config = { mediaType: EMPTY_CONFIG, digest: digestOf(Buffer.from('{}')), size: 2 };
  const layers = [await addLayer(content, PROGRAM_LAYER, items), ...more];
  return addManifest(content, { artifactType: PROGRAM_ARTIFACT, config, layers, annotations });
}
