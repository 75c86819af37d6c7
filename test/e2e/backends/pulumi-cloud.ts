import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

/**
 * A Pulumi Cloud in memory: the part of its HTTP API that the engine (3.259.0, pkg/backend/httpstate/client) uses to make a stack,
 * plan, update, refresh, export and import it, and to encrypt; with one update at a time, as the real one.
 */
export interface PulumiCloud {
  url: string;
  token: string;
  /** What the engine asked, as `METHOD /path`. */
  calls: string[];
  /** `org/project/stack` → deployment. */
  deployments: Map<string, { version: number; deployment: unknown }>;
  /** Ids of previews: the path of one looks like that of an update. */
  previews: Set<string>;
  /** Somebody else's update is under way. */
  busy: boolean;
  close(): Promise<void>;
}

class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  const bytes = Buffer.concat(chunks);
  if (bytes.length === 0) return {};
  const body: Record<string, unknown> = JSON.parse(
    (request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString(),
  );
  return body;
}

const LIVE_USER = {
  id: '1',
  githubLogin: 'ann',
  name: 'Ann',
  email: 'ann@example.com',
  organizations: [{ githubLogin: 'acme', name: 'Acme' }],
};

/** Of a stack that was never updated. */
const EMPTY = { manifest: { time: '0001-01-01T00:00:00Z', magic: '', version: '' } };

/** Ciphertext that is none: what matters is that it is opened where it was made. */
const swap = (text: unknown) =>
  Buffer.from([...Buffer.from(String(text), 'base64')].map((byte) => byte ^ 0x5a)).toString('base64');

function answer(cloud: PulumiCloud, method: string, path: string, body: Record<string, unknown>): object {
  if (path === '/api/user') return LIVE_USER;
  if (path === '/api/capabilities') return { capabilities: [] };
  if (path === '/api/user/organizations/default') return { GitHubLogin: 'acme' };
  if (path.startsWith('/api/cli/version')) return { latestVersion: '3.259.0', oldestWithoutWarning: '3.0.0' };
  const [, org, project, stack, ...rest] = /^\/api\/stacks\/([^/]+)\/([^/]+)(?:\/([^/]+)(.*))?$/.exec(path) ?? [];
  if (org === undefined) throw new Refusal(404, 'Not Found');
  if (stack === undefined) {
    if (method === 'HEAD') return {};
    cloud.deployments.set(`${org}/${project}/${String(body['stackName'])}`, { version: 3, deployment: EMPTY });
    return {};
  }
  return answerStack(cloud, { method, key: `${org}/${project}/${stack}`, what: rest[0] ?? '', body });
}

interface StackCall {
  method: string;
  key: string;
  what: string;
  body: Record<string, unknown>;
}

function answerStack(cloud: PulumiCloud, { method, key, what, body }: StackCall): object {
  const known = cloud.deployments.get(key);
  if (known === undefined) throw new Refusal(404, `Not Found: Stack '${key}' not found`);
  const [orgName, projectName, stackName] = key.split('/');
  if (what === '') return { id: key, orgName, projectName, stackName, activeUpdate: '', tags: {}, version: 1 };
  if (what === '/export') return known;
  if (what === '/encrypt') return { ciphertext: swap(body['plaintext']) };
  if (what === '/decrypt') return { plaintext: swap(body['ciphertext']) };
  if (what.startsWith('/batch-')) throw new Refusal(404, 'Not Found');
  if (/^\/(?:preview|update|refresh|destroy)$/.test(what) && method === 'POST') {
    const updateID = randomUUID();
    if (what === '/preview') cloud.previews.add(updateID);
    return { updateID };
  }
  if (/^\/(?:preview|update|refresh|destroy)\/[^/]+$/.test(what) && method === 'POST') {
    if (cloud.busy && !cloud.previews.has(what.split('/').at(-1) ?? ''))
      throw new Refusal(409, 'Conflict: Another update is currently in progress.');
    return { version: 1, token: 'lease', tokenExpiration: Math.floor(Date.now() / 1000) + 300 };
  }
  if (what.endsWith('/checkpoint') && method === 'PATCH') {
    cloud.deployments.set(key, { version: Number(body['version'] ?? 3), deployment: body['deployment'] });
    return {};
  }
  if (what.endsWith('/checkpointverbatim')) {
    const untyped = body['untypedDeployment'] as { version: number; deployment: unknown };
    cloud.deployments.set(key, untyped);
    return {};
  }
  if (what.endsWith('/renew_lease')) return { token: 'lease', tokenExpiration: Math.floor(Date.now() / 1000) + 300 };
  if (what === '/import') {
    cloud.deployments.set(key, body as { version: number; deployment: unknown });
    return { updateId: randomUUID() };
  }
  if (what.startsWith('/update/') && method === 'GET') return { status: 'succeeded', events: [] };
  if (what === '/updates') return { updates: [] };
  return {};
}

/** Starts a cloud that knows one user of one organization, `acme`. */
export async function startPulumiCloud(): Promise<PulumiCloud> {
  const cloud: PulumiCloud = {
    url: '',
    token: 'pul-0123456789abcdef',
    calls: [],
    deployments: new Map(),
    previews: new Set(),
    busy: false,
    close: async () => undefined,
  };
  const server = createServer((request, response) => {
    const { method = 'GET', url = '/' } = request;
    const path = decodeURIComponent(url.split('?', 1)[0] ?? '');
    cloud.calls.push(`${method} ${path}`);
    const isKnown = [`token ${cloud.token}`, 'update-token lease'].includes(request.headers.authorization ?? '');
    void bodyOf(request)
      .then((body) => {
        if (!isKnown) throw new Refusal(401, 'Unauthorized: No credentials provided or are invalid.');
        const text = JSON.stringify(answer(cloud, method, path, body));
        response.writeHead(200, { 'content-type': 'application/json' }).end(text);
      })
      .catch((error: unknown) => {
        const code = error instanceof Refusal ? error.status : 500;
        const message = error instanceof Error ? error.message : String(error);
        response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify({ code, message }));
      });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  cloud.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  cloud.close = async () => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };
  return cloud;
}
