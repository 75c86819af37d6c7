import { createHash } from 'node:crypto';
import { connect } from 'node:net';

/** Media type of an OCI image manifest. */
export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

/** Descriptor of some bytes. */
export interface RawDescriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/** Digest of some bytes as registries write it. */
export function digestOf(bytes: Uint8Array | string, algorithm: 'sha256' | 'sha512' = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

/** Descriptor of bytes with this media type. */
export function describeBytes(bytes: Uint8Array | string, mediaType: string): RawDescriptor {
  return { mediaType, digest: digestOf(bytes), size: Buffer.byteLength(bytes) };
}

/** Pushes a blob in one request. `base` is `http://host:port/v2/<name>`. @returns its descriptor. */
export async function pushBlob(base: string, bytes: Uint8Array | string, mediaType = 'application/octet-stream') {
  const descriptor = describeBytes(bytes, mediaType);
  const answer = await fetch(`${base}/blobs/uploads/?digest=${descriptor.digest}`, {
    method: 'POST',
    body: Buffer.from(bytes),
    signal: AbortSignal.timeout(30_000),
  });
  await answer.body?.cancel();
  if (answer.status !== 201) throw new Error(`push of a blob to ${base} answered ${answer.status}`);
  return descriptor;
}

/** Bytes of an image manifest. */
export function imageManifest(parts: {
  config: RawDescriptor;
  layers: RawDescriptor[];
  [field: string]: unknown;
}): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST_TYPE, ...parts });
}

/** Puts a manifest; the caller looks at the answer. */
export function putManifest(base: string, reference: string, bytes: string, type = MANIFEST_TYPE): Promise<Response> {
  return fetch(`${base}/manifests/${reference}`, {
    method: 'PUT',
    headers: { 'Content-Type': type },
    body: bytes,
    signal: AbortSignal.timeout(30_000),
  });
}

/** Pushes a one-layer image under a tag. @returns the manifest's digest. */
export async function pushImage(base: string, tag: string, layer: string): Promise<string> {
  const config = await pushBlob(base, '{}', 'application/vnd.oci.empty.v1+json');
  const layers = [await pushBlob(base, layer, 'application/vnd.oci.image.layer.v1.tar')];
  const bytes = imageManifest({ config, layers });
  const answer = await putManifest(base, tag, bytes);
  await answer.body?.cancel();
  if (answer.status !== 201) throw new Error(`push of a manifest to ${base} answered ${answer.status}`);
  return digestOf(bytes);
}

/** Sends bytes as they are, for requests `fetch` would tidy up first. @returns the whole answer. */
export function sendRaw(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.end(request));
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer within 10 s')));
    socket.on('data', (bytes) => (answer += bytes.toString('latin1')));
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}
