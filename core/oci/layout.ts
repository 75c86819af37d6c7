import { join } from 'node:path';
import { stalled, transient } from '#core/domain/errors.ts';
import { isDigest, isTag } from '#core/domain/reference.ts';
import { openFile, readFrom, writeFileWhole } from './blob-file.ts';
import { field, parseJson } from './body.ts';
import { contentOf, manifestStream } from './content.ts';
import { checked, digestOf, hasDigest } from './digest.ts';
import { ensureLayout, readEntries, tagOf, updateEntries, withEntry } from './layout-index.ts';
import { checkManifest, MAX_MANIFEST_BYTES } from './manifest.ts';
import { INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import type { Descriptor, Pusher, Source } from './port.ts';
import { createReferrerList, referrerDescriptor } from './referrer-list.ts';
import { referrersTag } from './referrers.ts';

/** Manifests whose subject is remembered, so that a copy does not read each of them for each other. */
const MAX_REMEMBERED = 10_000;

interface Listed {
  subject: string | undefined;
  descriptor: Descriptor;
}

function blobPath(dir: string, digest: string): string {
  if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
  return join(dir, 'blobs', digest.slice(0, digest.indexOf(':')), digest.slice(digest.indexOf(':') + 1));
}

function missing(dir: string, what: string) {
  return transient('SourceNotFound', `the OCI layout ${dir} has no ${what}`);
}

/** The file is opened when the stream is read and closed with it. */
async function* streamOf(path: string, dir: string, descriptor: Descriptor): AsyncGenerator<Uint8Array, void> {
  const file = await openFile(path);
  if (file === undefined) throw missing(dir, descriptor.digest);
  const { digest, size } = descriptor;
  try {
    yield* checked(readFrom(file.handle), { digest, size, what: `content of ${dir}` });
  } finally {
    await file.handle.close();
  }
}

async function fetchFrom(dir: string, descriptor: Descriptor): Promise<AsyncIterable<Uint8Array>> {
  const { digest, size, mediaType } = descriptor;
  const path = blobPath(dir, digest);
  const found = await sizeOf(path);
  if (found === undefined) throw missing(dir, digest);
  if (found !== size) {
    throw stalled(
      'DigestMismatch',
      `${digest} in ${dir} has ${found} bytes, its descriptor says ${size}; copy it again`,
    );
  }
  const stream = streamOf(path, dir, descriptor);
  return MANIFEST_TYPES.has(mediaType) ? manifestStream(stream, descriptor, `${dir} ${digest}`) : stream;
}

async function sizeOf(path: string): Promise<number | undefined> {
  const file = await openFile(path);
  await file?.handle.close();
  return file?.size;
}

/** What bytes that nobody calls anything are taken for; undefined: no manifest. */
function guessType(bytes: Buffer): string | undefined {
  const manifest = parseJson(bytes);
  const own = field(manifest, 'mediaType');
  if (typeof own === 'string') return MANIFEST_TYPES.has(own) ? own : undefined;
  if (Array.isArray(field(manifest, 'manifests'))) return OCI_INDEX;
  return Array.isArray(field(manifest, 'layers')) ? OCI_MANIFEST : undefined;
}

/** The descriptor of a manifest that no entry names: its bytes say what it is. */
async function sniff(dir: string, digest: string): Promise<Descriptor> {
  const size = await sizeOf(blobPath(dir, digest));
  if (size === undefined || size > MAX_MANIFEST_BYTES) throw missing(dir, `manifest ${digest}`);
  const chunks: Uint8Array[] = [];
  for await (const chunk of streamOf(blobPath(dir, digest), dir, { mediaType: '', digest, size })) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const contentType = guessType(bytes);
  if (contentType === undefined) throw missing(dir, `manifest ${digest}`);
  return { mediaType: checkManifest({ bytes, contentType, digest }, `${digest} in ${dir}`), digest, size };
}

/** Reads and lists what is attached, by the `subject` of every manifest the index names. */
function createScanner(dir: string) {
  const known = new Map<string, Listed>();

  async function bytesOf(descriptor: Descriptor): Promise<Buffer | undefined> {
    if ((await sizeOf(blobPath(dir, descriptor.digest))) === undefined) return undefined;
    const chunks: Uint8Array[] = [];
    for await (const chunk of await fetchFrom(dir, descriptor)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** Undefined for content that is not there: a layout may name more than it holds. */
  async function listedOf(descriptor: Descriptor): Promise<Listed | undefined> {
    const found = known.get(descriptor.digest);
    if (found !== undefined) return found;
    const bytes = await bytesOf(descriptor);
    if (bytes === undefined) return undefined;
    const subject = field(field(parseJson(bytes), 'subject'), 'digest');
    const listed = {
      subject: typeof subject === 'string' ? subject : undefined,
      descriptor: referrerDescriptor(bytes, descriptor),
    };
    if (known.size < MAX_REMEMBERED) known.set(descriptor.digest, listed);
    return listed;
  }

  return async (digest: string): Promise<Descriptor[]> => {
    const found = new Map<string, Descriptor>();
    for (const entry of await readEntries(dir)) {
      if (tagOf(entry) === referrersTag(digest) && INDEX_TYPES.has(entry.mediaType)) {
        const list = createReferrerList(`the referrers tag of ${digest} in ${dir}`);
        const bytes = await bytesOf(entry);
        if (bytes !== undefined) list.addPage(bytes);
        for (const each of list.all()) found.set(each.digest, each);
      } else if (MANIFEST_TYPES.has(entry.mediaType)) {
        const listed = await listedOf(entry);
        if (listed?.subject === digest) found.set(entry.digest, listed.descriptor);
      }
    }
    return [...found.values()];
  };
}

function createLayoutReader(dir: string): Source {
  const referrersOf = createScanner(dir);
  return {
    async resolve(_, reference) {
      const entries = await readEntries(dir);
      const named = entries.filter((entry) =>
        isDigest(reference) ? entry.digest === reference : tagOf(entry) === reference,
      );
      const [first] = named;
      if (named.some(({ digest }) => digest !== first?.digest)) {
        throw stalled(
          'ArtifactInvalid',
          `${reference} in the OCI layout ${dir} names several manifests; name a digest`,
        );
      }
      if (first === undefined) {
        if (isDigest(reference)) return sniff(dir, reference);
        throw missing(dir, `tag ${reference}`);
      }
      if (!MANIFEST_TYPES.has(first.mediaType)) {
        throw stalled('ArtifactInvalid', `${reference} in ${dir} is ${first.mediaType}, which is no manifest`);
      }
      if ((await sizeOf(blobPath(dir, first.digest))) === undefined) throw missing(dir, first.digest);
      return { mediaType: first.mediaType, digest: first.digest, size: first.size };
    },
    fetch: (_, descriptor) => fetchFrom(dir, descriptor),
    async tags() {
      const names = (await readEntries(dir)).map(tagOf);
      return [...new Set(names.filter((name) => name !== undefined).filter(isTag))];
    },
    async referrers(_, digest, { artifactType }) {
      if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no digest`);
      const all = await referrersOf(digest);
      return artifactType === undefined ? all : all.filter((each) => each.artifactType === artifactType);
    },
  };
}

/**
 * A folder in the OCI image layout (image-spec v1.1.1 image-layout.md) as a source and as a place to push to: the whole
 * folder is one repository, so the repositories asked for are not looked at. Made with the first push. Several processes
 * may share it; content is seen complete or not at all.
 */
export function createLayout(dir: string): Source & Pusher {
  return {
    ...createLayoutReader(dir),
    async pushBlob(_, content, signal) {
      const { digest, size } = content.descriptor;
      const path = blobPath(dir, digest);
      await ensureLayout(dir, signal);
      if ((await sizeOf(path)) === size) return { existed: true };
      await writeFileWhole(path, checked(abortable(content.open(), signal), { digest, size, what: 'what was pushed' }));
      return { existed: false };
    },
    async pushManifest(_, reference, { bytes, mediaType }, signal) {
      const what = `push of ${reference} to ${dir}`;
      if (!isDigest(reference) && !isTag(reference)) {
        throw stalled('InvalidReference', `${what}: ${JSON.stringify(reference.slice(0, 80))} is no tag and no digest`);
      }
      if (isDigest(reference) && !hasDigest(bytes, reference)) {
        throw stalled('DigestMismatch', `${what}: the bytes have the digest ${digestOf(bytes)}`);
      }
      const digest = isDigest(reference) ? reference : digestOf(bytes);
      checkManifest({ bytes, contentType: mediaType, digest }, what);
      const descriptor = { mediaType, digest, size: bytes.byteLength };
      await ensureLayout(dir, signal);
      if ((await sizeOf(blobPath(dir, digest))) !== bytes.byteLength) {
        await writeFileWhole(blobPath(dir, digest), contentOf(bytes, mediaType).open());
      }
      const tag = isTag(reference) ? reference : undefined;
      await updateEntries(dir, (entries) => withEntry(entries, descriptor, tag), signal);
      return descriptor;
    },
  };
}

async function* abortable(source: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of source) {
    signal.throwIfAborted();
    yield chunk;
  }
}
