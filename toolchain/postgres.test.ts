import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { identify, isRunning, waitForExit } from './process.ts';
import { startPostgres, type EmbeddedPostgres } from './postgres.ts';

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const result = await client.query<Record<string, unknown>>(sql);
    return result.rows;
  } finally {
    await client.end();
  }
}

describe('embedded PostgreSQL', { timeout: 60_000 }, () => {
  let dataDir = '';
  let first: EmbeddedPostgres;
  const users: EmbeddedPostgres[] = [];
  const start = async () => {
    const server = await startPostgres({ dataDir, database: 'plumbline' });
    users.push(server);
    return server;
  };

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'plumbline-postgres-'));
    first = await start();
    await query(first.url, 'create table kept (n integer)');
    await query(first.url, 'insert into kept values (7)');
  }, 60_000);

  afterAll(async () => {
    for (const user of users) await user.stop();
    await rm(dataDir, { recursive: true, force: true });
  }, 60_000);

  it('writes to disk, listens on loopback only and asks for the password', async () => {
    expect(await query(first.url, 'show fsync')).toEqual([{ fsync: 'on' }]);
    expect(await query(first.url, 'show listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    const { mode } = await stat(join(dataDir, 'password'));
    expect(mode & 0o777).toBe(0o600);
    const wrong = first.url.replace(/:[^:@]+@/, ':wrong@');
    await expect(query(wrong, 'select 1')).rejects.toThrow('password authentication failed');
  });

  it('is attached to, not started twice, when it runs already', async () => {
    const second = await start();
    expect(second).toMatchObject({ attached: true, pid: first.pid, url: first.url });
  });

  it('starts again on the same port with its data after kill -9', async () => {
    const id = await identify(first.pid);
    if (id === undefined) throw new Error('it does not run');
    process.kill(first.pid, 'SIGKILL');
    expect(await waitForExit(id, 10_000)).toBe(true);
    const again = await start();
    expect(again).toMatchObject({ attached: false, url: first.url });
    expect(await query(again.url, 'select n from kept')).toEqual([{ n: 7 }]);
  });

  it('makes one server when two start at once', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'plumbline-postgres-'));
    const both = await Promise.all([1, 2].map(() => startPostgres({ dataDir: dir, fsync: false })));
    try {
      expect(both[0]?.pid).toBe(both[1]?.pid);
      expect(both.filter(({ attached }) => attached)).toHaveLength(1);
    } finally {
      for (const user of both) await user.stop();
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('runs until its last user stops it', async () => {
    const last = users.at(-1);
    const id = await identify(last?.pid ?? 0);
    if (last === undefined || id === undefined) throw new Error('it does not run');
    for (const user of users.splice(0, users.length - 1)) await user.stop();
    expect(await isRunning(id)).toBe(true);
    await last.stop();
    expect(await isRunning(id)).toBe(false);
  });
});
