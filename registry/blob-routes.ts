import { pipeline } from 'node:stream/promises';
import { blobSize, deleteBlob, mountBlob, openBlob } from './blob-store.ts';
import { parseChunkRange, parseRange, type ByteRange } from './byte-range.ts';
import { RegistryError } from './errors.ts';
import { bodyOf, headerOf, refuseMethod, sendEmpty, sendNotModified, type Exchange } from './exchange.ts';
import { isRepositoryName, type Digest } from './names.ts';
import { requireDigest } from './route.ts';
import {
  appendToUpload,
  cancelUpload,
  findUpload,
  finishUpload,
  startUpload,
  truncateUpload,
  uploadRange,
  type Upload,
} from './upload-store.ts';

/** `/v2/<name>/blobs/<digest>`: GET with ranges, HEAD, DELETE. */
export async function handleBlob(exchange: Exchange, name: string, digest: Digest): Promise<void> {
  switch (exchange.request.method) {
    case 'HEAD':
    case 'GET':
      return sendBlob(exchange, name, digest);
    case 'DELETE':
      if (!(await deleteBlob(exchange.context.layout, name, digest))) throw blobUnknown(digest);
      return sendEmpty(exchange, 202);
    default:
      return refuseMethod('GET', 'HEAD', 'DELETE');
  }
}

/** `/v2/<name>/blobs/uploads/`: starts an upload, takes a blob in one request, or mounts it from another repository. */
export async function handleUploads(exchange: Exchange, name: string): Promise<void> {
  if (exchange.request.method !== 'POST') return refuseMethod('POST');
  const { layout } = exchange.context;
  const mount = exchange.query.get('mount');
  if (mount !== null) {
    const digest = requireDigest(mount);
    const from = exchange.query.get('from') ?? undefined;
    if (from !== undefined && !isRepositoryName(from)) {
      throw new RegistryError('NAME_INVALID', '"from" is no valid repository name');
    }
    if (await mountBlob(layout, name, digest, from)) return sendCreated(exchange, name, digest);
  }
  const text = exchange.query.get('digest');
  const digest = text === null ? undefined : requireDigest(text);
  const upload = await startUpload(layout, name);
  if (digest === undefined || mount !== null) {
    return sendEmpty(exchange, 202, { Location: uploadLocation(name, upload), Range: uploadRange(0) });
  }
  await storeWhole(exchange, name, { ...upload, size: 0 }, digest);
}

/** `/v2/<name>/blobs/uploads/<id>`: GET where it stands, PATCH a chunk, PUT the end, DELETE to give it up. */
export async function handleUpload(exchange: Exchange, name: string, id: string): Promise<void> {
  const { context, request, query } = exchange;
  switch (request.method) {
    case 'HEAD':
    case 'GET': {
      const upload = await findUpload(context.layout, name, id);
      return sendEmpty(exchange, 204, { Location: uploadLocation(name, upload), Range: uploadRange(upload.size) });
    }
    case 'PATCH':
      return context.lock(`upload ${id}`, () => appendChunk(exchange, name, id));
    case 'PUT': {
      const digest = requireDigest(query.get('digest') ?? '');
      return context.lock(`upload ${id}`, async () =>
        storeWhole(exchange, name, await findUpload(context.layout, name, id), digest),
      );
    }
    case 'DELETE':
      return context.lock(`upload ${id}`, async () => {
        await cancelUpload(await findUpload(context.layout, name, id));
        sendEmpty(exchange, 204);
      });
    default:
      return refuseMethod('GET', 'HEAD', 'PATCH', 'PUT', 'DELETE');
  }
}

async function sendBlob(exchange: Exchange, name: string, digest: Digest): Promise<void> {
  const { context, request, response } = exchange;
  const etag = `"${digest.text}"`;
  const headers = { 'Docker-Content-Digest': digest.text, ETag: etag, 'Accept-Ranges': 'bytes' };
  if (request.method === 'HEAD') {
    const size = await blobSize(context.layout, name, digest);
    if (size === undefined) throw blobUnknown(digest);
    response.writeHead(200, { ...headers, 'Content-Type': 'application/octet-stream', 'Content-Length': size }).end();
    return;
  }
  const blob = await openBlob(context.layout, name, digest);
  if (blob === undefined) throw blobUnknown(digest);
  try {
    if (sendNotModified(exchange, etag)) return;
    const ifRange = headerOf(request, 'if-range');
    const wanted = ifRange === undefined || ifRange === etag ? request.headers.range : undefined;
    const range = parseRange(wanted, blob.size);
    if (range === 'unsatisfiable') {
      throw new RegistryError('SIZE_INVALID', `the blob has ${blob.size} bytes`, {
        status: 416,
        headers: { 'Content-Range': `bytes */${blob.size}` },
      });
    }
    const { start, end } = range === 'whole' ? { start: 0, end: blob.size - 1 } : range;
    response.writeHead(range === 'whole' ? 200 : 206, {
      ...headers,
      'Content-Type': 'application/octet-stream',
      'Content-Length': end - start + 1,
      ...(range === 'whole' ? {} : { 'Content-Range': `bytes ${start}-${end}/${blob.size}` }),
    });
    if (blob.size === 0) response.end();
    else await pipeline(blob.handle.createReadStream({ start, end, autoClose: false }), response);
  } finally {
    await blob.handle.close();
  }
}

async function appendChunk(exchange: Exchange, name: string, id: string): Promise<void> {
  const { context, request } = exchange;
  const upload = await findUpload(context.layout, name, id);
  const chunk = { body: bodyOf(request), range: chunkRange(exchange), maxBytes: context.maxBlobBytes };
  const size = await appendToUpload(upload, chunk);
  sendEmpty(exchange, 202, { Location: uploadLocation(name, upload), Range: uploadRange(size) });
}

async function storeWhole(
  exchange: Exchange,
  name: string,
  upload: Upload & { size: number },
  digest: Digest,
): Promise<void> {
  const { context, request } = exchange;
  const range = chunkRange(exchange);
  try {
    await appendToUpload(upload, { body: bodyOf(request), range, maxBytes: context.maxBlobBytes });
  } catch (error) {
    // So that the same PUT can be sent again after a broken connection.
    await truncateUpload(upload, upload.size);
    throw error;
  }
  await finishUpload(context.layout, name, upload, digest);
  sendCreated(exchange, name, digest);
}

function chunkRange({ request }: Exchange): ByteRange | undefined {
  const header = headerOf(request, 'content-range');
  if (header === undefined) return undefined;
  const range = parseChunkRange(header);
  if (range === undefined) throw new RegistryError('BLOB_UPLOAD_INVALID', 'Content-Range must be <start>-<end>');
  const length = headerOf(request, 'content-length');
  if (length !== undefined && Number(length) !== range.end - range.start + 1) {
    throw new RegistryError('SIZE_INVALID', `Content-Range and Content-Length (${length}) differ`);
  }
  return range;
}

function sendCreated(exchange: Exchange, name: string, digest: Digest): void {
  const location = `/v2/${name}/blobs/${digest.text}`;
  sendEmpty(exchange, 201, { Location: location, 'Docker-Content-Digest': digest.text });
}

function uploadLocation(name: string, upload: Upload): string {
  return `/v2/${name}/blobs/uploads/${upload.id}`;
}

function blobUnknown(digest: Digest): RegistryError {
  return new RegistryError('BLOB_UNKNOWN', `the repository has no blob ${digest.text}`);
}
