import pg from 'pg';
import { migrateToLatest, openDatabase } from '#core/store/database.ts';

/** The database that test databases are copies of. */
export const MIGRATED = 'test_template';

/** Makes it on a server; nobody may be connected to it afterwards, or it cannot be copied. */
export async function makeTemplate(serverUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl, connectionTimeoutMillis: 5000 });
  await client.connect();
  try {
    await client.query(`CREATE DATABASE ${MIGRATED} TEMPLATE template0`);
  } finally {
    await client.end();
  }
  const url = new URL(serverUrl);
  url.pathname = `/${MIGRATED}`;
  const db = openDatabase(url.href, { maxConnections: 1 });
  try {
    await migrateToLatest(db);
  } finally {
    await db.destroy();
  }
}
