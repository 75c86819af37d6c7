import { stalled, transient } from '#core/domain/errors.ts';
import type { Repository } from '#core/domain/reference.ts';
import { checked } from './digest.ts';
import type { HttpResponse, HttpTimeouts } from './http.ts';
import type { Content } from './port.ts';
import type { Session } from './session.ts';
import { assertAnswered } from './status.ts';

const MIB = 1024 * 1024;
/** A chunk is held in memory, so that it can be sent again after a challenge. */
const DEFAULT_CHUNK_BYTES = 16 * MIB;
/** The largest `OCI-Chunk-Min-Length` that is granted: a registry must not choose our memory. */
const MAX_CHUNK_BYTES = 64 * MIB;
/** The body was too large for one request, or its range is not what the registry holds. */
const WANTS_CHUNKS: ReadonlySet<number> = new Set([413, 416]);

export interface Upload {
  session: Session;
  timeouts: HttpTimeouts;
  repository: Repository;
  content: Content;
  signal: AbortSignal;
}

interface Opened {
  location: URL;
  /** Smallest chunk the registry takes, in bytes (`OCI-Chunk-Min-Length`). */
  minChunk: number;
}

function whatOf({ repository, content }: Upload): string {
  return `upload of ${content.descriptor.digest} to ${repository.host}/${repository.name}`;
}

/** Where an upload goes on: relative or absolute, never from https down to http. */
function nextLocation(response: HttpResponse, what: string): URL {
  const location = response.header('location');
  if (location === undefined || !URL.canParse(location, response.url.href)) {
    throw transient('SourceUnreachable', `${what}: no upload location was given`);
  }
  const target = new URL(location, response.url);
  if (response.url.protocol === 'https:' && target.protocol !== 'https:') {
    throw stalled('InvalidReference', `${what}: refused to go on from https to ${target.origin}`);
  }
  return target;
}

/** The query is opaque to us, so it is added to and never written anew. */
function closing(location: URL, digest: string): URL {
  const target = new URL(location);
  target.search += `${target.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`;
  return target;
}

function common({ repository, signal }: Upload) {
  // An upload session serves one attempt, so a retry starts from the POST.
  return { repository, signal, access: 'pull,push', retry: false } as const;
}

/** Opens an upload; undefined where the blob was mounted from another repository instead. */
async function open(upload: Upload): Promise<Opened | undefined> {
  const { session, timeouts, repository, content } = upload;
  const start = `/v2/${repository.name}/blobs/uploads/`;
  const post = { ...common(upload), method: 'POST', body: Buffer.alloc(0), limitMs: timeouts.total } as const;
  if (content.mountFrom !== undefined && content.mountFrom !== repository.name) {
    const query = new URLSearchParams({ mount: content.descriptor.digest, from: content.mountFrom });
    const mounted = await session.send({ ...post, target: `${start}?${query.toString()}` });
    await mounted.discard();
    if (mounted.status === 201) return undefined;
    // Who may not read the other repository, or whose registry cannot mount, uploads.
    if (mounted.status === 202) return { location: nextLocation(mounted, whatOf(upload)), minChunk: 0 };
  }
  const opened = await session.send({ ...post, target: start });
  await assertAnswered(opened, whatOf(upload));
  await opened.discard();
  const minChunk = Number(opened.header('oci-chunk-min-length') ?? 0);
  return { location: nextLocation(opened, whatOf(upload)), minChunk: minChunk > 0 ? minChunk : 0 };
}

/** "POST then PUT" of distribution-spec, "Pushing a blob monolithically". @returns false where chunks are wanted. */
async function putWhole(upload: Upload, { location }: Opened): Promise<boolean> {
  const { session, timeouts, content } = upload;
  const { digest, size } = content.descriptor;
  const stored = await session.send({
    ...common(upload),
    method: 'PUT',
    target: closing(location, digest),
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
    body: () => checked(content.open(), { digest, size, what: 'what was to be uploaded' }),
    limitMs: timeouts.blob,
  });
  if (WANTS_CHUNKS.has(stored.status)) {
    await stored.discard();
    return false;
  }
  await assertAnswered(stored, whatOf(upload));
  await stored.discard();
  return true;
}

/** Gathers a stream into pieces of `size` bytes, the last may be smaller. */
async function* pieces(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Buffer, void> {
  let held: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of source) {
    let rest = chunk;
    while (bytes + rest.byteLength >= size) {
      held.push(rest.subarray(0, size - bytes));
      rest = rest.subarray(size - bytes);
      yield Buffer.concat(held, size);
      held = [];
      bytes = 0;
    }
    held.push(rest);
    bytes += rest.byteLength;
  }
  if (bytes > 0) yield Buffer.concat(held, bytes);
}

async function patch(upload: Upload, target: URL, start: number, body: Buffer): Promise<URL> {
  const end = start + body.byteLength - 1;
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(body.byteLength),
    'content-range': `${start}-${end}`,
  };
  const { session, timeouts } = upload;
  const sent = { ...common(upload), method: 'PATCH', target, headers, body, limitMs: timeouts.blob } as const;
  const response = await session.send(sent);
  await assertAnswered(response, whatOf(upload));
  await response.discard();
  const range = response.header('range');
  if (range !== undefined && range.replace(/^bytes=/, '') !== `0-${end}`) {
    throw transient(
      'SourceUnreachable',
      `${whatOf(upload)}: the registry holds ${range.slice(0, 40)} after bytes 0-${end}`,
    );
  }
  return nextLocation(response, whatOf(upload));
}

/** distribution-spec, "Pushing a blob in chunks". */
async function putChunks(upload: Upload, opened: Opened, chunkBytes: number): Promise<void> {
  const { session, timeouts, content } = upload;
  const { digest, size } = content.descriptor;
  if (opened.minChunk > MAX_CHUNK_BYTES) {
    throw stalled(
      'SourceUnreachable',
      `${whatOf(upload)}: the registry wants chunks of ${opened.minChunk} bytes, more than the allowed ${MAX_CHUNK_BYTES}`,
    );
  }
  let { location } = opened;
  let start = 0;
  const source = checked(content.open(), { digest, size, what: 'what was to be uploaded' });
  for await (const piece of pieces(source, Math.max(chunkBytes, opened.minChunk))) {
    location = await patch(upload, location, start, piece);
    start += piece.byteLength;
  }
  const stored = await session.send({
    ...common(upload),
    method: 'PUT',
    target: closing(location, digest),
    headers: { 'content-length': '0' },
    body: Buffer.alloc(0),
    limitMs: timeouts.total,
  });
  await assertAnswered(stored, whatOf(upload));
  await stored.discard();
}

/**
 * One attempt to upload a blob: mounted, else in one piece, else (413, 416 or `chunkBytes`) in chunks.
 * @throws ReconcileError as the session does; stalled DigestMismatch where the content is not what it says
 */
export async function uploadBlob(upload: Upload, chunkBytes: number | undefined): Promise<void> {
  const opened = await open(upload);
  if (opened === undefined) return;
  if (chunkBytes !== undefined) return putChunks(upload, opened, chunkBytes);
  if (await putWhole(upload, opened)) return;
  const { descriptor, open: openContent } = upload.content;
  const plain = { ...upload, content: { descriptor, open: openContent } };
  const again = await open(plain);
  if (again !== undefined) await putChunks(plain, again, DEFAULT_CHUNK_BYTES);
}
