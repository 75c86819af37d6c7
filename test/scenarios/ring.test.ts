import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { pino, type Logger } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { createRing, openQueueWorker, type QueueName, type QueueWorkerOptions, type Ring } from '#core/queue.ts';
import { startRedis } from '../../toolchain/redis.ts';

let lines: string[];
let logger: Logger;
let ring: Ring;
let tenant: string;
let made = 0;
const closers: (() => Promise<void>)[] = [];

beforeAll(() => {
  lines = [];
  logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) });
  ring = createRing(inject('redisUrl'), logger);
});
afterAll(async () => await ring.close());
beforeEach(() => {
  lines.length = 0;
  tenant = `ring-${process.pid}-${(made += 1)}`;
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

interface Looks {
  seen: string[];
  release(): void;
}

/** A worker whose first look lasts until `release`. */
function looking(more: Partial<QueueWorkerOptions> = {}): Looks {
  const seen: string[] = [];
  const gate = Promise.withResolvers<void>();
  const worker = openQueueWorker({
    redisUrl: inject('redisUrl'),
    tenant,
    queue: 'reconcile',
    concurrency: 4,
    logger,
    process: async ({ stackId }) => {
      seen.push(stackId);
      await gate.promise;
    },
    ...more,
  });
  closers.push(async () => {
    gate.resolve();
    await worker.close();
  });
  return { seen, release: () => gate.resolve() };
}

const hit = (stackId: string, queue: QueueName = 'reconcile') => ring.ring(tenant, stackId, queue);

describe('ringing', () => {
  it('a thousand times before a worker looks leaves one job', async () => {
    await Promise.all(Array.from({ length: 1000 }, () => hit('1')));
    expect(await ring.waiting(tenant, 'reconcile')).toBe(1);
  });

  it('a thousand times during a look leads to exactly one more look', async () => {
    const looks = looking();
    await hit('1');
    await expect.poll(() => looks.seen).toEqual(['1']);
    await Promise.all(Array.from({ length: 1000 }, () => hit('1')));
    looks.release();
    await expect.poll(() => looks.seen).toEqual(['1', '1']);
    await expect.poll(() => ring.waiting(tenant, 'reconcile')).toBe(0);
    await hit('1');
    await expect.poll(() => looks.seen).toHaveLength(3);
  });

  it('for one stack never keeps another waiting', async () => {
    const looks = looking();
    for (const stack of ['1', '2', '3']) await hit(stack);
    await expect.poll(() => looks.seen.toSorted()).toEqual(['1', '2', '3']);
  });

  it('reaches only workers of the tenant and queue', async () => {
    const looks = looking();
    await ring.ring(`${tenant}-b`, '1', 'reconcile');
    await hit('2', 'drift');
    await hit('3');
    await expect.poll(() => looks.seen).toEqual(['3']);
    expect(await ring.waiting(`${tenant}-b`, 'reconcile')).toBe(1);
    expect(await ring.waiting(tenant, 'drift')).toBe(1);
  });

  it('again after a look that failed is heard', async () => {
    let looks = 0;
    looking({
      process: async () => {
        looks += 1;
        await Promise.reject(new Error('defect'));
      },
    });
    await hit('1');
    await expect.poll(() => lines.some((line) => line.includes('a look at a stack failed'))).toBe(true);
    await hit('1');
    await expect.poll(() => looks).toBe(2);
  });

  it('after Redis was flushed is heard, also during a look', async () => {
    const looks = looking();
    await hit('1');
    await expect.poll(() => looks.seen).toEqual(['1']);
    const redis = new Redis(inject('redisUrl'));
    const keys = await redis.keys(`plumbline:{${tenant}}:*`);
    expect(keys.length).toBeGreaterThan(0);
    await redis.del(...keys);
    redis.disconnect();
    await hit('1');
    await expect.poll(() => looks.seen).toEqual(['1', '1']);
  });
});

describe('a deduplication key', () => {
  it('whose job is in no list is removed, so that the next ring is heard', async () => {
    await hit('1');
    const redis = new Redis(inject('redisUrl'));
    await redis.del(`plumbline:{${tenant}}:reconcile:wait`);
    redis.disconnect();
    await hit('1');
    expect(await ring.waiting(tenant, 'reconcile')).toBe(0);
    expect(await ring.clearStaleDedup(tenant, '1', 'reconcile')).toBe(true);
    await hit('1');
    expect(await ring.waiting(tenant, 'reconcile')).toBe(1);
  });

  it('whose job waits is left alone', async () => {
    await hit('1');
    expect(await ring.clearStaleDedup(tenant, '1', 'reconcile')).toBe(false);
    await hit('1');
    expect(await ring.waiting(tenant, 'reconcile')).toBe(1);
  });
});

describe('a job', () => {
  it('of a worker that died is handed on', async () => {
    const dead = looking({ lockMs: 1000 });
    await hit('1');
    await expect.poll(() => dead.seen).toEqual(['1']);
    const redis = new Redis(inject('redisUrl'));
    // What is left of a worker after kill -9: an active job without a lock.
    const lock = `plumbline:{${tenant}}:reconcile:1:lock`;
    const timer = setInterval(() => void redis.del(lock), 20);
    const next = looking({ lockMs: 1000 });
    await expect.poll(() => next.seen.length + dead.seen.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(2);
    clearInterval(timer);
    redis.disconnect();
  });
});

describe('with Redis down', () => {
  it('a ring fails in time without an error, and works again when Redis is back', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'plumbline-ring-'));
    const options = { dataDir: dir, toolchainDir: inject('toolchainDir') };
    const first = await startRedis(options);
    const own = createRing(first.url, logger);
    await own.ring(tenant, '1', 'reconcile');
    await first.stop();
    const start = performance.now();
    await own.ring(tenant, '2', 'reconcile');
    await own.ring(`${tenant}-unseen`, '2', 'reconcile');
    expect(performance.now() - start).toBeLessThan(5000);
    expect(lines.filter((line) => line.includes('the ring failed')).length).toBe(2);
    await expect(own.ping()).rejects.toThrow(/writeable|closed|Redis did not answer/);
    const second = await startRedis(options);
    expect(second.url).toBe(first.url);
    await expect
      .poll(
        async () =>
          own.ping().then(
            () => true,
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(true);
    await own.ring(`${tenant}-unseen`, '2', 'reconcile');
    expect(await own.waiting(`${tenant}-unseen`, 'reconcile')).toBe(1);
    expect(await own.waiting(tenant, 'reconcile')).toBe(1);
    await own.close();
    await second.stop();
    await rm(dir, { recursive: true, force: true });
  });
});
