import { createHash } from 'node:crypto';
import { blobSize } from './blob-store.ts';
import { RegistryError } from './errors.ts';
import {
  bodyOf,
  headerOf,
  publish,
  refuseMethod,
  sendBytes,
  sendEmpty,
  sendNotModified,
  type Exchange,
} from './exchange.ts';
import { MAX_MANIFEST_BYTES, parseManifest, type ParsedManifest } from './manifest.ts';
import { deleteManifest, deleteTag, findManifest, hasManifest, hasRepository, putManifest } from './manifest-store.ts';
import { parseDigest, type Digest } from './names.ts';
import type { Reference } from './route.ts';

/** `/v2/<name>/manifests/<reference>`: GET, HEAD, PUT, DELETE. */
export async function handleManifest(exchange: Exchange, name: string, reference: Reference): Promise<void> {
  switch (exchange.request.method) {
    case 'HEAD':
    case 'GET':
      return sendManifest(exchange, name, reference);
    case 'PUT':
      return storeManifest(exchange, name, reference);
    case 'DELETE':
      return removeReference(exchange, name, reference);
    default:
      return refuseMethod('GET', 'HEAD', 'PUT', 'DELETE');
  }
}

async function sendManifest(exchange: Exchange, name: string, reference: Reference): Promise<void> {
  const manifest = await findManifest(exchange.context.layout, name, reference);
  if (manifest === undefined) throw await manifestUnknown(exchange, name, reference);
  const etag = `"${manifest.digest.text}"`;
  if (sendNotModified(exchange, etag)) return;
  sendBytes(exchange, manifest.bytes, {
    'Content-Type': manifest.mediaType,
    'Docker-Content-Digest': manifest.digest.text,
    ETag: etag,
  });
}

async function storeManifest(exchange: Exchange, name: string, reference: Reference): Promise<void> {
  const { context, request } = exchange;
  const bytes = await readManifest(exchange);
  const digest = digestOf(bytes, reference);
  const parsed = parseManifest(bytes, headerOf(request, 'content-type'));
  const tag = 'tag' in reference ? reference.tag : undefined;
  await context.lock(`repository ${name}`, async () => {
    await requireReferenced(exchange, name, parsed);
    await putManifest(context.layout, name, { digest, mediaType: parsed.mediaType, bytes, parsed }, tag);
    const target = { repository: name, mediaType: parsed.mediaType, digest: digest.text, size: bytes.length };
    await publish(exchange, 'push', tag === undefined ? target : { ...target, tag });
  });
  sendEmpty(exchange, 201, {
    Location: `/v2/${name}/manifests/${digest.text}`,
    'Docker-Content-Digest': digest.text,
    ...(parsed.subject === undefined ? {} : { 'OCI-Subject': parsed.subject }),
  });
}

async function removeReference(exchange: Exchange, name: string, reference: Reference): Promise<void> {
  const { layout, lock } = exchange.context;
  await lock(`repository ${name}`, async () => {
    if ('tag' in reference) {
      if (!(await deleteTag(layout, name, reference.tag))) throw await manifestUnknown(exchange, name, reference);
      return publish(exchange, 'delete', { repository: name, tag: reference.tag });
    }
    if (!(await deleteManifest(layout, name, reference.digest))) throw await manifestUnknown(exchange, name, reference);
    return publish(exchange, 'delete', { repository: name, digest: reference.digest.text });
  });
  sendEmpty(exchange, 202);
}

async function readManifest({ request }: Exchange): Promise<Buffer> {
  if (Number(headerOf(request, 'content-length') ?? 0) > MAX_MANIFEST_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of bodyOf(request)) {
    size += chunk.length;
    if (size > MAX_MANIFEST_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function digestOf(bytes: Buffer, reference: Reference): Digest {
  const wanted = 'digest' in reference ? reference.digest : undefined;
  const algorithm = wanted?.algorithm ?? 'sha256';
  const hex = createHash(algorithm).update(bytes).digest('hex');
  const digest = { algorithm, hex, text: `${algorithm}:${hex}` };
  if (wanted !== undefined && wanted.text !== digest.text) {
    throw new RegistryError('DIGEST_INVALID', `the manifest has the digest ${digest.text}, not ${wanted.text}`);
  }
  return digest;
}

/** The subject is not looked for: it may be pushed later (distribution-spec 1.1 "Pushing Manifests with Subject"). */
async function requireReferenced({ context }: Exchange, name: string, parsed: ParsedManifest): Promise<void> {
  for (const blob of parsed.blobs) {
    const digest = parseDigest(blob.digest);
    const size = digest && (await blobSize(context.layout, name, digest));
    if (size === undefined) throw new RegistryError('MANIFEST_BLOB_UNKNOWN', `push the blob ${blob.digest} first`);
    if (size !== blob.size) {
      throw new RegistryError('SIZE_INVALID', `the blob ${blob.digest} has ${size} bytes, not ${blob.size}`);
    }
  }
  for (const manifest of parsed.manifests) {
    const digest = parseDigest(manifest.digest);
    const found =
      digest &&
      ((await hasManifest(context.layout, name, digest)) ||
        (await blobSize(context.layout, name, digest)) !== undefined);
    if (!found) throw new RegistryError('MANIFEST_BLOB_UNKNOWN', `push the manifest ${manifest.digest} first`);
  }
}

async function manifestUnknown({ context }: Exchange, name: string, reference: Reference): Promise<RegistryError> {
  if (!(await hasRepository(context.layout, name))) {
    return new RegistryError('NAME_UNKNOWN', 'nothing was pushed to this repository');
  }
  const wanted = 'tag' in reference ? reference.tag : reference.digest.text;
  return new RegistryError('MANIFEST_UNKNOWN', `the repository has no manifest ${wanted}`);
}

function tooLarge(): RegistryError {
  return new RegistryError('SIZE_INVALID', `a manifest holds at most ${MAX_MANIFEST_BYTES} bytes`, { status: 413 });
}
