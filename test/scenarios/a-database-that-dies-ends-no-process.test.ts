import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { startPostgres } from '../../toolchain/postgres.ts';

/** Holds one connection inside a transaction and one idle, and prints `alive` after the server was killed. */
const CLIENT = `
  import { openDatabase } from '#core/store/database.ts';
  import { sql } from 'kysely';
  const db = openDatabase(process.env.DATABASE_URL, { maxConnections: 2 });
  const waits = db.transaction().execute(async (trx) => {
    await sql\`select 1\`.execute(trx);
    console.log('ready');
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await sql\`select 1\`.execute(trx);
  });
  await sql\`select 1\`.execute(db);
  await waits.then(() => console.log('committed'), () => console.log('alive'));
`;

it('kill -9 of PostgreSQL fails the transaction under way and ends no process of ours', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-dying-database-'));
  const server = await startPostgres({ dataDir: dir, fsync: false });
  const child = spawn(process.execPath, ['--input-type=module', '-e', CLIENT], {
    cwd: join(import.meta.dirname, '../..'),
    env: { PATH: process.env['PATH'], DATABASE_URL: server.url },
  });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  try {
    for (let tries = 0; tries < 100 && !said.includes('ready'); tries += 1) await delay(100);
    process.kill(server.pid, 'SIGKILL');
    expect(await code, said).toBe(0);
    expect(said).toContain('alive');
  } finally {
    child.kill('SIGKILL');
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
});
