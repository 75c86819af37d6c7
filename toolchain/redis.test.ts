import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toolchainDirOf } from './paths.ts';
import { commandLine, identify, isRunning, waitForExit } from './process.ts';
import { startRedis, type EmbeddedRedis } from './redis.ts';

async function ask<T>(url: string, question: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { retryStrategy: () => null });
  client.on('error', () => undefined);
  try {
    return await question(client);
  } finally {
    client.disconnect();
  }
}

describe('embedded Redis', { timeout: 60_000 }, () => {
  const toolchainDir = toolchainDirOf({ PLUMBLINE_TOOLCHAIN: process.env['PLUMBLINE_TOOLCHAIN'] ?? '' });
  let dataDir = '';
  let first: EmbeddedRedis;
  const users: EmbeddedRedis[] = [];
  const start = async () => {
    const server = await startRedis({ dataDir, toolchainDir });
    users.push(server);
    return server;
  };

  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'plumbline-redis-'));
    first = await start();
  }, 120_000);

  afterAll(async () => {
    for (const user of users) await user.stop();
    await rm(dataDir, { recursive: true, force: true });
  }, 60_000);

  it('keeps an append-only file, never evicts, and asks for the password', async () => {
    expect(await ask(first.url, (client) => client.config('GET', 'appendonly'))).toEqual(['appendonly', 'yes']);
    const policy = await ask(first.url, (client) => client.config('GET', 'maxmemory-policy'));
    expect(policy).toEqual(['maxmemory-policy', 'noeviction']);
    await expect(ask(`redis://127.0.0.1:${first.port}`, (client) => client.get('key'))).rejects.toThrow('NOAUTH');
  });

  it('keeps the password out of its command line and readable by its owner only', async () => {
    const { mode } = await stat(join(dataDir, 'redis.conf'));
    expect(mode & 0o777).toBe(0o600);
    expect(await commandLine(first.pid)).not.toContain(new URL(first.url).password);
  });

  it('is attached to, not started twice, when it runs already', async () => {
    const second = await start();
    expect(second).toMatchObject({ attached: true, pid: first.pid, url: first.url });
  });

  it('starts again on the same port with what it had on disk after kill -9', async () => {
    await ask(first.url, (client) => client.set('kept', '7'));
    // `WAITAOF 1 0`: until the local append-only file has been synced (Redis 7.2 and newer).
    await ask(first.url, (client) => client.call('WAITAOF', '1', '0', '5000'));
    const id = await identify(first.pid);
    if (id === undefined) throw new Error('it does not run');
    process.kill(first.pid, 'SIGKILL');
    expect(await waitForExit(id, 10_000)).toBe(true);
    const again = await start();
    expect(again).toMatchObject({ attached: false, url: first.url });
    expect(await ask(again.url, (client) => client.get('kept'))).toBe('7');
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
