import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { openDatabase, type Database } from '#core/store/database.ts';
import { MIGRATED } from './template.ts';

/** A fresh, migrated database of its own, dropped by `close`. */
export interface TestDatabase {
  db: Database;
  url: string;
  close(): Promise<void>;
}

async function onServer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: inject('postgresUrl'), connectionTimeoutMillis: 5000 });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** Makes a database on the shared server; `migrated: false` leaves it empty. */
export async function createTestDatabase({ migrated = true } = {}): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  // A copy of the migrated one costs a quarter of the migrations.
  await onServer(`CREATE DATABASE ${name} TEMPLATE ${migrated ? MIGRATED : 'template0'}`);
  const url = new URL(inject('postgresUrl'));
  url.pathname = `/${name}`;
  const db = openDatabase(url.href, { maxConnections: 8 });
  return {
    db,
    url: url.href,
    close: async () => {
      await db.destroy();
      await onServer(`DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}
