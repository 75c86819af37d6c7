import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { startPostgres, type EmbeddedPostgres } from '../../toolchain/postgres.ts';

/** The cluster the demo's program manages: never Plumbline's own. */
export interface Target {
  cluster: EmbeddedPostgres;
  /** Environment of the two identities, as their Secrets hold it. */
  plan: Record<string, string>;
  apply: Record<string, string>;
  /** Runs SQL as the superuser: the world behind Plumbline's back, and the witness of what exists. */
  query<T extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<T[]>;
}

/** Starts the managed cluster with a `plan` role that can only read and an `apply` role that may make databases and roles. */
export async function startTarget(dataDir: string): Promise<Target> {
  const cluster = await startPostgres({ dataDir, fsync: false });
  const passwords = { plan: randomBytes(18).toString('base64url'), apply: randomBytes(18).toString('base64url') };
  const query = async <T extends pg.QueryResultRow>(sql: string, values: unknown[] = []): Promise<T[]> => {
    const client = new pg.Client({
      connectionString: cluster.url,
      statement_timeout: 5000,
      connectionTimeoutMillis: 5000,
    });
    await client.connect();
    try {
      return (await client.query<T>(sql, values)).rows;
    } finally {
      await client.end();
    }
  };
  // DDL takes no parameters; both values are base64url of our own making.
  await query(`CREATE ROLE plumb_plan LOGIN PASSWORD '${passwords.plan}'`);
  await query('ALTER ROLE plumb_plan SET default_transaction_read_only = on');
  await query(`CREATE ROLE plumb_apply LOGIN CREATEDB CREATEROLE PASSWORD '${passwords.apply}'`);
  const at = (user: string, password: string) => ({
    PGHOST: '127.0.0.1',
    PGPORT: String(cluster.port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: 'postgres',
  });
  return { cluster, plan: at('plumb_plan', passwords.plan), apply: at('plumb_apply', passwords.apply), query };
}
