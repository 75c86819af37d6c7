import { Kysely, PostgresDialect, Transaction } from 'kysely';
import { Migrator } from 'kysely/migration';
import pg from 'pg';
import * as initial from './migrations/0001-initial.ts';
import * as verification from './migrations/0002-verification.ts';
import * as sourceTags from './migrations/0003-source-tags.ts';
import * as exactRuns from './migrations/0004-exact-runs.ts';
import type { Schema } from './schema.ts';
import { storablePlugin } from './storable.ts';

/** The pool of one process. */
export type Database = Kysely<Schema>;

/** What store functions take: the pool, or the transaction their writes belong to. */
export type Queryable = Database | Transaction<Schema>;

export interface DatabaseOptions {
  /** Connections at most; default 10. */
  maxConnections?: number;
  /** Milliseconds after which the server cancels a statement; default 30 s. */
  statementTimeoutMs?: number;
  /** Told about connections that break while idle; the pool replaces them by itself. */
  onConnectionError?: (error: Error) => void;
}

/** Waits longer than this for a connection or the server are errors; a transaction may not idle longer either. */
const LIMIT_MS = 30_000;

/** Opens the pool; connects with the first query. Every query has a limit in time, on the server and here. */
export function openDatabase(url: string, options: DatabaseOptions = {}): Database {
  const statementTimeout = options.statementTimeoutMs ?? LIMIT_MS;
  const pool = new pg.Pool({
    connectionString: url,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: LIMIT_MS,
    statement_timeout: statementTimeout,
    // A server that does not answer at all cannot cancel anything.
    query_timeout: statementTimeout + 5000,
    // A forgotten transaction would hold back every reader of events.
    idle_in_transaction_session_timeout: LIMIT_MS,
    keepAlive: true,
    application_name: 'plumbline',
  });
  // Without a listener an idle connection that breaks ends the process.
  pool.on('error', (error) => options.onConnectionError?.(error));
  // The pool takes its own listener away while a connection is in use: one that breaks between two queries of a transaction
  // would end the process. The next query on it fails, which is how the transaction learns of it.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return new Kysely<Schema>({ dialect: new PostgresDialect({ pool }), plugins: [storablePlugin()] });
}

const MIGRATIONS = {
  '0001-initial': initial,
  '0002-verification': verification,
  '0003-source-tags': sourceTags,
  '0004-exact-runs': exactRuns,
};

/** Brings the tables up to date. Safe to call from several processes at once: they wait for each other. */
export async function migrateToLatest(db: Database): Promise<void> {
  const migrator = new Migrator({
    db,
    provider: { getMigrations: () => Promise.resolve(MIGRATIONS) },
  });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) {
    throw new Error('the database cannot be brought up to date; is it one of a newer Plumbline?', { cause: error });
  }
}

/** Runs `work` in the transaction it is called in, or in one of its own. */
export async function inTransaction<T>(db: Queryable, work: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
  return db instanceof Transaction ? await work(db) : await db.transaction().execute(work);
}
