import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { connectEmbedded, requireDataDir } from './embedded.ts';
import { checkout } from './paths.ts';

describe('requireDataDir', () => {
  it('names a folder that cannot be made, and the setting', async () => {
    const file = join(checkout, 'package.json');
    await expect(requireDataDir(join(file, 'data'))).rejects.toThrow(/package\.json.* cannot be used .*PLUMBLINE_DATA/);
  });
});

describe('connectEmbedded', { timeout: 120_000 }, () => {
  let dataDir = '';
  beforeAll(async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    dataDir = await mkdtemp(join(tmpdir(), 'plumbline-embedded-'));
  });
  afterAll(() => rm(dataDir, { recursive: true, force: true }));

  async function postmaster(url: string): Promise<number> {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      const { rows } = await client.query<{ pid: string }>(
        "select split_part(pg_read_file('postmaster.pid'), chr(10), 1) as pid",
      );
      return Number(rows[0]?.pid);
    } finally {
      await client.end();
    }
  }

  it('starts PostgreSQL again at the same address when it is killed, and stops it on release', async () => {
    const config = { dataDir, DATABASE_URL: '', REDIS_URL: 'redis://elsewhere', PLUMBLINE_TOOLCHAIN: '' };
    const servers = await connectEmbedded(config);
    const first = await postmaster(servers.databaseUrl);
    process.kill(first, 'SIGKILL');
    const second = await vi.waitFor(() => postmaster(servers.databaseUrl), { timeout: 60_000, interval: 200 });
    expect(second).not.toBe(first);
    await servers.release();
    await expect(postmaster(servers.databaseUrl)).rejects.toThrow('ECONNREFUSED');
  });

  it('leaves servers alone that are configured', async () => {
    const config = { dataDir, DATABASE_URL: 'postgres://a/b', REDIS_URL: 'redis://c', PLUMBLINE_TOOLCHAIN: '' };
    const servers = await connectEmbedded(config);
    expect(servers).toMatchObject({ databaseUrl: 'postgres://a/b', redisUrl: 'redis://c' });
    await expect(servers.release()).resolves.toBeUndefined();
  });
});
