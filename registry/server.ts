import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { hostname } from 'node:os';
import { unreachable } from '../core/domain/errors.ts';
import { handleBlob, handleUpload, handleUploads } from './blob-routes.ts';
import { RegistryError } from './errors.ts';
import { discardBody, refuseMethod, sendBytes, type Exchange, type RegistryContext } from './exchange.ts';
import { createKeyedLock } from '#core/keyed-lock.ts';
import { openLayout } from './layout.ts';
import { handleReferrers, handleTags } from './listing-routes.ts';
import { SILENT, type RegistryLog } from './log.ts';
import { handleManifest } from './manifest-routes.ts';
import { startNotifier, type NotificationEndpoint } from './notifier.ts';
import { parseRoute, type Route } from './route.ts';
import { removeAbandonedUploads } from './upload-store.ts';

/** How a registry is run. One process at a time may use `dir`. */
export interface RegistryOptions {
  /** Folder everything is kept in; made when it is missing. */
  dir: string;
  /** 127.0.0.1 by default. */
  host?: string;
  /** 0, the default, picks a free one. */
  port?: number;
  notifications?: NotificationEndpoint[];
  /** One user for everything; without it everybody may read and write. */
  auth?: { username: string; password: string };
  /** Largest blob in bytes; 16 GiB by default. */
  maxBlobBytes?: number;
  logger?: RegistryLog;
}

/** A registry that listens. */
export interface RunningRegistry {
  /** `http://host:port` */
  url: string;
  host: string;
  port: number;
  /** Stops listening and delivering; what is on disk stays. */
  close(): Promise<void>;
}

const SOCKET_IDLE_MS = 120_000;
const CLEAN_UP_EVERY_MS = 60 * 60 * 1000;
const CLOSE_GRACE_MS = 2_000;

/**
 * Starts an OCI registry (distribution-spec 1.1) over plain HTTP with its files in `dir`.
 * @throws when the folder cannot be written or the address is taken.
 */
export async function startRegistry(options: RegistryOptions): Promise<RunningRegistry> {
  const log = options.logger ?? SILENT;
  const layout = await openLayout(options.dir);
  await removeAbandonedUploads(layout, new Date());
  const host = options.host ?? '127.0.0.1';
  const server = createServer({ requestTimeout: 0, headersTimeout: 30_000, keepAliveTimeout: 65_000 });
  server.setTimeout(SOCKET_IDLE_MS);
  const port = await listen(server, host, options.port ?? 0);
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const notifier = await startNotifier(layout, options.notifications ?? [], log);
  const context: RegistryContext = {
    layout,
    lock: createKeyedLock(),
    notifier,
    log,
    actor: options.auth?.username,
    source: { addr: `${hostname()}:${port}`, instanceID: randomUUID() },
    maxBlobBytes: options.maxBlobBytes ?? 16 * 1024 ** 3,
  };
  server.on('request', (request, response) => void respond(context, options.auth, request, response));
  const cleaning = setInterval(() => {
    removeAbandonedUploads(layout, new Date()).catch((error: unknown) => log.error({ err: error }, 'clean-up failed'));
  }, CLEAN_UP_EVERY_MS).unref();
  log.info({ address: authority }, 'registry listens');
  return {
    url: `http://${authority}`,
    host,
    port,
    async close() {
      clearInterval(cleaning);
      await stop(server);
      await notifier.close();
    },
  };
}

async function respond(
  context: RegistryContext,
  auth: RegistryOptions['auth'],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('Docker-Distribution-API-Version', 'registry/2.0');
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  const exchange = { context, request, response, query: new URLSearchParams(query) };
  try {
    if (auth !== undefined && !isAuthorized(request.headers.authorization, auth)) {
      throw new RegistryError('UNAUTHORIZED', 'log in with the registry user', {
        headers: { 'WWW-Authenticate': 'Basic realm="plumbline"' },
      });
    }
    const route = parseRoute(path);
    if (route === undefined) throw new RegistryError('UNSUPPORTED', 'no such endpoint', { status: 404 });
    await dispatch(exchange, route);
  } catch (error) {
    sendError(exchange, error);
  }
}

async function dispatch(exchange: Exchange, route: Route): Promise<void> {
  switch (route.kind) {
    case 'base':
      if (exchange.request.method !== 'GET' && exchange.request.method !== 'HEAD') return refuseMethod('GET', 'HEAD');
      return sendBytes(exchange, Buffer.from('{}'), { 'Content-Type': 'application/json' });
    case 'tags':
      return handleTags(exchange, route.name);
    case 'manifest':
      return handleManifest(exchange, route.name, route.reference);
    case 'referrers':
      return handleReferrers(exchange, route.name, route.digest);
    case 'uploads':
      return handleUploads(exchange, route.name);
    case 'upload':
      return handleUpload(exchange, route.name, route.id);
    case 'blob':
      return handleBlob(exchange, route.name, route.digest);
    default:
      return unreachable(route);
  }
}

/** Answers in the form of distribution-spec 1.1 "Error Codes"; what is not meant for clients goes to the log. */
function sendError({ context, request, response }: Exchange, error: unknown): void {
  const known = error instanceof RegistryError;
  const brokenOff = request.destroyed && !request.complete;
  if (!known && !brokenOff)
    context.log.error({ err: error, method: request.method, path: request.url }, 'request failed');
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { code, message } = known ? error : { code: 'UNKNOWN', message: 'the registry could not do this; see its log' };
  if (!request.complete) discardBody(request);
  const body = Buffer.from(JSON.stringify({ errors: [{ code, message, detail: null }] }));
  response.writeHead(known ? error.status : 500, {
    ...(known ? error.headers : {}),
    'Content-Type': 'application/json',
    'Content-Length': body.length,
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

function isAuthorized(header: string | undefined, auth: { username: string; password: string }): boolean {
  const wanted = `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`;
  const given = header?.replace(/^basic +/i, 'Basic ') ?? '';
  // Hashes have one length, which timingSafeEqual needs.
  return timingSafeEqual(createHash('sha256').update(given).digest(), createHash('sha256').update(wanted).digest());
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

async function stop(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
  server.closeIdleConnections();
  const grace = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(grace);
}
