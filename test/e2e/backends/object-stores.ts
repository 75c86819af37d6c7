import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A store of objects in memory that speaks what the engine asks of it; see which calls in each function below. */
export interface ObjectStore {
  /** `127.0.0.1:port` */
  host: string;
  objects: Map<string, Buffer>;
  /** Called before an object is removed. */
  beforeDelete: ((key: string) => void) | undefined;
  close(): Promise<void>;
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

async function serve(
  handle: (store: ObjectStore, request: IncomingMessage, response: ServerResponse, url: URL) => Promise<void>,
): Promise<ObjectStore> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://store');
    handle(store, request, response, url).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  const store: ObjectStore = {
    host: '',
    objects: new Map(),
    beforeDelete: undefined,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address() as AddressInfo;
  store.host = `127.0.0.1:${address.port}`;
  return store;
}

/** Keys below a prefix, those behind a further slash as folders. */
function list({ objects }: ObjectStore, prefix: string, delimiter: string): { keys: string[]; folders: string[] } {
  const below = [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  if (delimiter === '') return { keys: below, folders: [] };
  const cut = (key: string) => key.indexOf(delimiter, prefix.length);
  const folders = below.filter((key) => cut(key) >= 0).map((key) => key.slice(0, cut(key) + 1));
  return { keys: below.filter((key) => cut(key) < 0), folders: [...new Set(folders)] };
}

function remove(store: ObjectStore, key: string): boolean {
  store.beforeDelete?.(key);
  return store.objects.delete(key);
}

const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest('base64');
const DATE = 'Tue, 24 Nov 2026 14:00:00 GMT';

function googleObject(key: string, bytes: Buffer): object {
  const iso = new Date(DATE).toISOString();
  const size = String(bytes.length);
  return {
    kind: 'storage#object',
    name: key,
    bucket: 'states',
    generation: '1',
    metageneration: '1',
    size,
    md5Hash: md5(bytes),
    updated: iso,
    timeCreated: iso,
    contentType: 'text/plain',
  };
}

const json = (response: ServerResponse, body: object, status = 200) =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const nothing = (response: ServerResponse) => json(response, { error: { code: 404, message: 'No such object' } }, 404);

async function uploadToGoogle(store: ObjectStore, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  const boundary = /boundary="?([^";]+)/.exec(request.headers['content-type'] ?? '')?.[1] ?? '';
  const text = body.toString('latin1');
  const [, description = '', content = ''] = text
    .split(`--${boundary}`)
    .map((part) => part.slice(part.indexOf('\r\n\r\n') + 4, -2));
  const { name }: { name: string } = JSON.parse(Buffer.from(description, 'latin1').toString());
  store.objects.set(name, Buffer.from(content, 'latin1'));
  json(response, googleObject(name, store.objects.get(name) ?? Buffer.alloc(0)));
}

/** Google Cloud Storage: its JSON API for list, look, upload, copy and delete, and the XML API for reads, as its Go client calls them. */
export function startGoogleStorage(): Promise<ObjectStore> {
  return serve(async (store, request, response, url) => {
    if (url.pathname.startsWith('/upload/')) return uploadToGoogle(store, request, response);
    const [, , rest] = /^\/storage\/v1\/b\/([^/]+)\/o(?:\/(.*))?$/.exec(url.pathname) ?? [];
    if (!url.pathname.startsWith('/storage/')) {
      const bytes = store.objects.get(decodeURIComponent(url.pathname.split('/').slice(2).join('/')));
      if (bytes === undefined) return void response.writeHead(404).end();
      const headers = {
        'x-goog-generation': '1',
        'x-goog-metageneration': '1',
        'content-length': bytes.length,
        'last-modified': DATE,
      };
      return void response.writeHead(200, headers).end(bytes);
    }
    if (rest === undefined) {
      const { keys, folders } = list(
        store,
        url.searchParams.get('prefix') ?? '',
        url.searchParams.get('delimiter') ?? '',
      );
      const items = keys.map((key) => googleObject(key, store.objects.get(key) ?? Buffer.alloc(0)));
      return json(response, { kind: 'storage#objects', items, prefixes: folders });
    }
    const [from = '', to] = rest.split('/rewriteTo/b/states/o/').map(decodeURIComponent);
    const bytes = store.objects.get(from);
    if (bytes === undefined) return nothing(response);
    if (to !== undefined) {
      store.objects.set(to, bytes);
      const size = String(bytes.length);
      return json(response, {
        kind: 'storage#rewriteResponse',
        done: true,
        totalBytesRewritten: size,
        objectSize: size,
        resource: googleObject(to, bytes),
      });
    }
    if (request.method === 'DELETE') return void response.writeHead(remove(store, from) ? 204 : 404).end();
    if (url.searchParams.get('alt') === 'media') return void response.writeHead(200).end(bytes);
    return json(response, googleObject(from, bytes));
  });
}

function azureList(store: ObjectStore, url: URL): string {
  const prefix = url.searchParams.get('prefix') ?? '';
  const { keys, folders } = list(store, prefix, url.searchParams.get('delimiter') ?? '');
  const blobs = keys.map((key) => {
    const size = store.objects.get(key)?.length ?? 0;
    return `<Blob><Name>${key}</Name><Properties><Last-Modified>${DATE}</Last-Modified><Etag>0x1</Etag><Content-Length>${size}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>`;
  });
  const prefixes = folders.map((key) => `<BlobPrefix><Name>${key}</Name></BlobPrefix>`);
  return `<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="states"><Blobs>${blobs.join('')}${prefixes.join('')}</Blobs><NextMarker/></EnumerationResults>`;
}

function azureMissing(response: ServerResponse): void {
  response.writeHead(404, { 'x-ms-error-code': 'BlobNotFound' }).end();
}

/** Azure Blob Storage: list, put, read, look, copy and delete of block blobs, as its Go client calls them. */
export function startAzureBlob(): Promise<ObjectStore> {
  return serve(async (store, request, response, url) => {
    if (!/^SharedKey acmestate:.+/.test(request.headers.authorization ?? ''))
      return void response.writeHead(403, { 'x-ms-error-code': 'AuthenticationFailed' }).end();
    if (url.searchParams.get('comp') === 'list') {
      return void response.writeHead(200, { 'content-type': 'application/xml' }).end(azureList(store, url));
    }
    const key = decodeURIComponent(url.pathname.split('/').slice(3).join('/'));
    const source = request.headers['x-ms-copy-source'];
    if (request.method === 'PUT') {
      const body = await bodyOf(request);
      const from =
        typeof source === 'string'
          ? decodeURIComponent(new URL(source).pathname.split('/').slice(3).join('/'))
          : undefined;
      const bytes = from === undefined ? body : store.objects.get(from);
      if (bytes === undefined) return azureMissing(response);
      store.objects.set(key, bytes);
      const copied = from === undefined ? {} : { 'x-ms-copy-id': '1', 'x-ms-copy-status': 'success' };
      return void response
        .writeHead(from === undefined ? 201 : 202, { etag: '"0x1"', 'last-modified': DATE, ...copied })
        .end();
    }
    const bytes = store.objects.get(key);
    if (bytes === undefined) return azureMissing(response);
    if (request.method === 'DELETE') {
      remove(store, key);
      return void response.writeHead(202).end();
    }
    const headers = {
      etag: '"0x1"',
      'last-modified': DATE,
      'content-length': bytes.length,
      'x-ms-blob-type': 'BlockBlob',
      'x-ms-creation-time': DATE,
      'content-type': 'text/plain',
    };
    return void response.writeHead(200, headers).end(request.method === 'HEAD' ? undefined : bytes);
  });
}
