import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

const SERVICE = 'plumbline-test';
const ISSUER = 'plumbline-test-issuer';
const KEY_ID = 'test-key';

/** A token server as the registries of the docker world use it (distribution, docs/content/spec/auth/token.md). */
export interface TokenServer {
  /** `localhost:port` */
  host: string;
  /** For `auth.token` of a distribution 3 registry; the keys go into a file of their own. */
  settings: { realm: string; service: string; issuer: string };
  /** JSON of a key set. */
  keys: string;
  /** Every request so far: method and the scopes it asked for. */
  asked: { method: string; scopes: string[] }[];
  close(): Promise<void>;
}

interface Request {
  scopes: string[];
  account: string | undefined;
}

/** `repository:infra/shop:pull,push` */
function accessOf(scope: string): { type: string; name: string; actions: string[] } {
  const [type = '', name = '', actions = ''] = scope.split(':');
  return { type, name, actions: actions.split(',') };
}

function basicUser(request: IncomingMessage): { username: string; password: string } | undefined {
  const encoded = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const [username = '', password = ''] = Buffer.from(encoded, 'base64').toString().split(':');
  return { username, password };
}

async function readRequest(request: IncomingMessage, known: { username: string; password: string }): Promise<Request> {
  const { searchParams } = new URL(request.url ?? '/', 'http://token.test');
  let fields = searchParams;
  let given = basicUser(request);
  if (request.method === 'POST') {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) if (chunk instanceof Uint8Array) chunks.push(chunk);
    fields = new URLSearchParams(Buffer.concat(chunks).toString());
    given = { username: fields.get('username') ?? '', password: fields.get('password') ?? '' };
  }
  if (fields.get('service') !== SERVICE) throw new Error('another service was asked for');
  const scopes = fields.getAll('scope').flatMap((scope) => scope.split(' '));
  const isKnown = given?.username === known.username && given.password === known.password;
  return { scopes, account: isKnown ? known.username : undefined };
}

/** Starts one that grants its one user everything, and nobody else anything. Tokens last `seconds`. */
export async function startTokenServer(
  user: { username: string; password: string },
  seconds = 300,
): Promise<TokenServer> {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: KEY_ID, alg: 'ES256', use: 'sig' }] });
  const asked: TokenServer['asked'] = [];

  const server = createServer((request, response) => {
    void (async () => {
      const { scopes, account } = await readRequest(request, user);
      asked.push({ method: request.method ?? '', scopes });
      if (account === undefined) {
        response.writeHead(401, { 'content-type': 'application/json' }).end('{"details":"who are you?"}');
        return;
      }
      const now = Math.floor(Date.now() / 1000);
      const token = await new SignJWT({ access: scopes.map(accessOf) })
        .setProtectedHeader({ alg: 'ES256', kid: KEY_ID, typ: 'JWT' })
        .setIssuer(ISSUER)
        .setAudience(SERVICE)
        .setSubject(account)
        .setJti(randomUUID())
        .setIssuedAt(now)
        .setNotBefore(now - 10)
        .setExpirationTime(now + seconds)
        .sign(privateKey);
      const body = { token, access_token: token, expires_in: seconds, issued_at: new Date(now * 1000).toISOString() };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    })().catch((error: unknown) => response.writeHead(400).end(String(error)));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the token server has no port');
  // By a name: crane trusts no token server that is an address, and oras none whose name leads to one of another host.
  const host = `localhost:${address.port}`;
  return {
    host,
    settings: { realm: `http://${host}/token`, service: SERVICE, issuer: ISSUER },
    keys,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
