import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { temporaryRegistry } from '../harness/temporary-registry.ts';
import { startTokenServer, type TokenServer } from './token-server.ts';
import { startServer, type Program } from './tools.ts';

/** The one user of the registries that ask who is there. */
export const USER = { username: 'plumb', password: 'line' } as const;
/** bcrypt of the password above, as htpasswd -B writes it. */
const HTPASSWD = `${USER.username}:$2b$04$a3Iti13iyzvdtNJT2Y/PZOGX0nsSj5r1FWWZJSgfwd51E/40kMj8O\n`;

/** A registry that is up. */
export interface Served {
  /** `127.0.0.1:port`, or `localhost:port` where the token server is one of localhost. */
  host: string;
  credentials?: typeof USER;
  /** Whether it lists referrers itself; the tag scheme is used otherwise. */
  hasReferrersApi: boolean;
  knowsEveryRepository?: boolean;
  /** Where it sends those who ask; for registries with token authentication. */
  tokens?: TokenServer;
  log(): string;
  close(): Promise<void>;
}

export type Auth = 'none' | 'htpasswd' | 'token';

interface Notified {
  url: string;
  authorization: string;
}

export interface DistributionOptions {
  auth?: Auth;
  notified?: Notified;
  /** Settings that take the place of others, or are added to them. */
  more?: { http?: Record<string, unknown>; proxy?: Record<string, unknown> };
}

/** Settings of a registry of CNCF Distribution; those we use are the same in 2.8 and 3. */
async function distributionSettings(
  dir: string,
  port: number,
  { auth = 'none', notified, more = {} }: DistributionOptions,
  tokens?: TokenServer,
) {
  const settings: Record<string, unknown> = {
    version: 0.1,
    log: { level: 'warn' },
    storage: { filesystem: { rootdirectory: join(dir, 'data') }, delete: { enabled: true } },
    ...more,
    http: { addr: `127.0.0.1:${port}`, secret: 'of-the-test', ...more.http },
  };
  if (auth === 'htpasswd') {
    await writeFile(join(dir, 'htpasswd'), HTPASSWD);
    settings['auth'] = { htpasswd: { realm: 'test', path: join(dir, 'htpasswd') } };
  }
  if (tokens !== undefined) {
    await writeFile(join(dir, 'keys.json'), tokens.keys);
    settings['auth'] = { token: { ...tokens.settings, jwks: join(dir, 'keys.json') } };
  }
  if (notified !== undefined) {
    const { url, authorization } = notified;
    const retries = { timeout: '2s', threshold: 5, backoff: '100ms' };
    const endpoint = { name: 'plumbline', url, headers: { Authorization: [authorization] }, ...retries };
    settings['notifications'] = { endpoints: [endpoint] };
  }
  const file = join(dir, 'config.yml');
  await writeFile(file, stringify(settings));
  return file;
}

async function scratch(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'plumbline-served-'));
}

/** A registry of CNCF Distribution: `program` is version 3 built from source, or Debian's 2.8. */
export async function serveDistribution(program: string, options: DistributionOptions = {}): Promise<Served> {
  const { auth = 'none' } = options;
  const dir = await scratch();
  const tokens = auth === 'token' ? await startTokenServer(USER) : undefined;
  const toArgs = async (port: number) => ['serve', await distributionSettings(dir, port, options, tokens)];
  const server = await startServer(program, toArgs, { cwd: dir, env: { OTEL_TRACES_EXPORTER: 'none' } });
  return {
    ...server,
    host: tokens === undefined ? server.host : server.host.replace('127.0.0.1', 'localhost'),
    ...(auth === 'none' ? {} : { credentials: USER }),
    ...(tokens === undefined ? {} : { tokens }),
    hasReferrersApi: false,
    async close() {
      await server.close();
      await tokens?.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** olareg, which follows the newest specification. */
export async function serveOlareg(
  program: string,
  options: { referrersApi?: boolean; more?: readonly string[] } = {},
): Promise<Served> {
  const { referrersApi = true, more = [] } = options;
  const dir = await scratch();
  const fixed = ['serve', '--addr=127.0.0.1', '--store-type=mem', `--api-referrer=${referrersApi}`];
  const toArgs = (port: number) => [...fixed, `--port=${port}`, ...more];
  const server = await startServer(program, toArgs, { cwd: dir });
  return {
    ...server,
    hasReferrersApi: referrersApi,
    knowsEveryRepository: true,
    async close() {
      await server.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Our own registry. */
export async function serveEmbedded(): Promise<Served> {
  const registry = await temporaryRegistry({ auth: USER });
  const host = `127.0.0.1:${registry.port}`;
  return { host, credentials: USER, hasReferrersApi: true, log: () => '', close: () => registry.close() };
}

/** Everything a registry can be in these tests: its name, the program it needs and how it is started. */
export interface Kind {
  name: string;
  program: Program | undefined;
  /** Its pages of tags are seen elsewhere: it differs from another kind in other things, or the conformance suite looks at them. */
  pagesAreKnown?: boolean;
  serve(program: string): Promise<Served>;
}

export const KINDS: readonly Kind[] = [
  { name: 'distribution 3', program: 'registry-distribution', serve: (program) => serveDistribution(program) },
  {
    name: 'distribution 3 with tokens',
    program: 'registry-distribution',
    pagesAreKnown: true,
    serve: (program) => serveDistribution(program, { auth: 'token' }),
  },
  {
    name: 'distribution 3 with a password',
    program: 'registry-distribution',
    pagesAreKnown: true,
    serve: (program) => serveDistribution(program, { auth: 'htpasswd' }),
  },
  { name: "Debian's docker-registry 2.8", program: 'docker-registry', serve: (program) => serveDistribution(program) },
  { name: 'olareg', program: 'olareg', serve: (program) => serveOlareg(program) },
  {
    name: 'olareg without its referrers API',
    program: 'olareg',
    pagesAreKnown: true,
    serve: (program) => serveOlareg(program, { referrersApi: false }),
  },
  { name: 'our own registry', program: undefined, pagesAreKnown: true, serve: () => serveEmbedded() },
];
