import pg from 'pg';

/**
 * Runs `work` on a connection of its own to one database of the cluster that PGHOST, PGPORT, PGUSER and PGPASSWORD name. They
 * come from the environment of the run and never from inputs, which would land in the state. Reading needs nothing but the
 * right to connect.
 * @throws Error saying which server and database did not let us in; the server's own error from `work`.
 */
export async function withDatabase<T>(
  database: string | undefined,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const { PGHOST, PGUSER, PGDATABASE } = process.env;
  if (PGHOST === undefined || PGUSER === undefined) {
    throw new Error(
      'PGHOST and PGUSER are not in the environment of this run: set spec.pulumi.environment and spec.credentials',
    );
  }
  const name = database ?? PGDATABASE ?? 'postgres';
  const client = new pg.Client({
    database: name,
    application_name: 'plumbline-stack-postgres',
    connectionTimeoutMillis: 10_000,
    query_timeout: 60_000,
  });
  // A server that goes away fails the query that waits; without a listener it would end this process.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    if (isMissingDatabase(error)) throw error;
    const said = error instanceof Error ? error.message || String(Reflect.get(error, 'code')) : String(error);
    throw new Error(`cannot connect to database ${name} on ${client.host}:${client.port} as ${PGUSER}: ${said}`, {
      cause: error,
    });
  }
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Like `withDatabase`, or undefined when that database does not exist: then nothing in it does. */
export async function withExistingDatabase<T>(
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await withDatabase(database, work);
  } catch (error) {
    if (isMissingDatabase(error)) return undefined;
    throw error;
  }
}

/**
 * Runs several statements in one transaction, so that a crash leaves all of them or none. One such transaction at a time in
 * a database: the engine works in parallel, and two grants on one object fail with `tuple concurrently updated`.
 */
export async function inTransaction(client: pg.Client, statements: readonly string[]): Promise<void> {
  await client.query('begin');
  try {
    await client.query("select pg_advisory_xact_lock(hashtext('plumbline-stack-postgres'))");
    for (const statement of statements) await client.query(statement);
    await client.query('commit');
  } catch (error) {
    // The first error is the one to tell; a connection that is lost rolls back by itself.
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

/** A name as SQL takes it, whatever characters it holds. */
export function identifier(name: string): string {
  return pg.escapeIdentifier(name);
}

/** A text as SQL takes it, whatever characters it holds. */
export function literal(text: string): string {
  return pg.escapeLiteral(text);
}

/** SQLSTATE 3D000, invalid_catalog_name. */
function isMissingDatabase(error: unknown): boolean {
  return error instanceof Error && Reflect.get(error, 'code') === '3D000';
}
