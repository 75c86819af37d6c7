import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startPostgres, type EmbeddedPostgres } from '../../toolchain/postgres.ts';
import { inTransaction, withDatabase } from './connection.ts';

describe('inTransaction', { timeout: 60_000 }, () => {
  let dataDir = '';
  let server: EmbeddedPostgres;
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'plumbline-stack-'));
    server = await startPostgres({ dataDir, database: 'shop' });
    const url = new URL(server.url);
    vi.stubEnv('PGHOST', url.hostname);
    vi.stubEnv('PGPORT', url.port);
    vi.stubEnv('PGUSER', url.username);
    vi.stubEnv('PGPASSWORD', url.password);
  }, 60_000);
  afterAll(async () => {
    vi.unstubAllEnvs();
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }, 60_000);

  const run = (...statements: string[]) => withDatabase('shop', (client) => inTransaction(client, statements));

  it('lets grants on one schema be made at the same time, as the engine makes them', async () => {
    const roles = Array.from({ length: 12 }, (_, index) => `role_${index}`);
    await run('create schema orders', ...roles.map((role) => `create role ${role}`));
    await Promise.all(roles.map((role) => run(`grant usage on schema orders to ${role}`)));
    const counted = await withDatabase('shop', (client) =>
      client.query(
        "select count(*)::int as count from pg_roles where rolname like 'role%' and has_schema_privilege(rolname, 'orders', 'usage')",
      ),
    );
    expect(counted.rows).toEqual([{ count: 12 }]);
  });
});
