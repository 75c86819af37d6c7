import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { InjectOptions } from 'fastify';
import type { Static, TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { API_VERSION, type Role } from '#core/domain/manifest.ts';
import { createLogger } from '#core/logger.ts';
import { createScrubber } from '#core/scrubber.ts';
import { loadMasterKey } from '#core/secrets.ts';
import type { Database } from '#core/store/database.ts';
import { createToken } from '#core/store/tokens.ts';
import { buildApp } from '../../service/app.ts';
import type { App } from '../../service/deps.ts';
import { createTestDatabase } from './database.ts';

/** An answer of the service. */
export interface Answer {
  status: number;
  /** Parsed JSON; undefined where there is none. */
  body: unknown;
  /** The body in the shape of a schema; throws when it has another one. */
  as<S extends TSchema>(schema: S): Static<S>;
  text: string;
  headers: Record<string, unknown>;
}

export interface Ringing {
  tenant: string;
  stackId: string;
  queue: string;
}

/** The service on a database of its own, spoken to without a socket. */
export interface TestService {
  app: App;
  db: Database;
  /** Token of an administrator bound to no tenant. */
  admin: string;
  /** Every ring so far. */
  rings: Ringing[];
  /** Whether Redis answers. */
  redis: { up: boolean };
  /** Every line of the log so far. */
  log: string[];
  /** Makes a token. */
  token(tenant: string | null, role: Role, name?: string): Promise<string>;
  call(method: NonNullable<InjectOptions['method']>, url: string, token?: string, body?: unknown): Promise<Answer>;
  inject(options: InjectOptions): Promise<Answer>;
  /** Applies manifests as the administrator; throws unless it is answered with 200. */
  apply(...manifests: object[]): Promise<Answer>;
  close(): Promise<void>;
}

export const tenant = (name: string) => ({ apiVersion: API_VERSION, kind: 'Tenant', metadata: { name }, spec: {} });

export const secret = (of: string, name: string, data: Record<string, string>) => ({
  apiVersion: API_VERSION,
  kind: 'Secret',
  metadata: { name, tenant: of },
  spec: { data },
});

export const stack = (of: string, name: string, spec: object = {}) => ({
  apiVersion: API_VERSION,
  kind: 'Stack',
  metadata: { name, tenant: of },
  spec: {
    source: { repository: `oci://registry.example.com/infra/${name}`, ref: { tag: 'prod' } },
    pulumi: { stack: 'prod' },
    ...spec,
  },
});

export const receiver = (
  of: string,
  name: string,
  type: string,
  ref: { secret: string; key: string },
  suspend = false,
) => ({
  apiVersion: API_VERSION,
  kind: 'Receiver',
  metadata: { name, tenant: of },
  spec: { type, secret: ref, suspend },
});

/** Starts the service for one test file. */
export async function startTestService(): Promise<TestService> {
  const database = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), 'plumbline-key-'));
  const scrubber = createScrubber();
  const rings: Ringing[] = [];
  const redis = { up: true };
  const log: string[] = [];
  const destination = new Writable({
    write(chunk: Buffer, _encoding, done) {
      log.push(chunk.toString());
      done();
    },
  });
  const app = buildApp({
    db: database.db,
    ring: {
      ring: async (of, stackId, queue) => void rings.push({ tenant: of, stackId, queue }),
      waiting: async () => 0,
      ping: async () => {
        if (!redis.up) throw new Error('no Redis');
      },
    },
    masterKey: await loadMasterKey(join(folder, 'master.key'), join(folder, 'data')),
    logger: createLogger({ level: 'info', scrubber, name: 'service', destination }),
    scrubber,
    now: () => new Date(),
  });
  const inject = async (options: InjectOptions): Promise<Answer> => {
    const answer = await app.inject(options);
    const isJson = /json/.test(String(answer.headers['content-type'] ?? ''));
    const body: unknown = isJson ? JSON.parse(answer.body) : undefined;
    return {
      status: answer.statusCode,
      body,
      as: (schema) => {
        const [wrong] = Value.Errors(schema, body);
        if (wrong !== undefined)
          throw new Error(`${answer.statusCode} ${wrong.instancePath} ${wrong.message}: ${answer.body}`);
        return Value.Parse(schema, body);
      },
      text: answer.body,
      headers: answer.headers,
    };
  };
  const token = async (of: string | null, role: Role, name = `${role}-${randomBytes(4).toString('hex')}`) =>
    (await createToken(database.db, { tenant: of, name, role, by: 'test' })).token;
  await app.ready();
  const admin = await token(null, 'admin');
  const call: TestService['call'] = (method, url, bearer, body) =>
    inject({
      method,
      url,
      headers: {
        ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { payload: JSON.stringify(body) }),
    });
  return {
    app,
    db: database.db,
    admin,
    rings,
    redis,
    log,
    token,
    inject,
    call,
    async apply(...manifests) {
      const answer = await call('POST', '/v1/apply', admin, { manifests });
      if (answer.status !== 200) throw new Error(`apply: ${answer.status} ${answer.text}`);
      return answer;
    },
    async close() {
      await app.close();
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
