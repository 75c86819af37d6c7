import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, expect, inject, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';
import { startRedis, type EmbeddedRedis } from '../../toolchain/redis.ts';

let dir: string;
let redis: EmbeddedRedis;
let client: Redis;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plumbline-flush-'));
  redis = await startRedis({ dataDir: dir, toolchainDir: inject('toolchainDir') });
  client = new Redis(redis.url);
});
afterAll(async () => {
  client.disconnect();
  await redis.stop();
  await rm(dir, { recursive: true, force: true });
});

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('a push whose job was flushed is found by the sweep', async () => {
  plumbline = await startTestPlumbline({ redisUrl: redis.url });
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  const first = await plumbline.push({ resources: { web: { size: 1 } } });
  await client.flushall();
  await plumbline.untilRun('shop', ['applied']);
  const { promise, resolve } = Promise.withResolvers<void>();
  plumbline.engine.hooks.apply = () => promise;
  await plumbline.push({ resources: { web: { size: 2 } } });
  const second = await plumbline.untilRun('shop', ['applying'], 1);
  const last = await plumbline.push({ resources: { web: { size: 3 } } });
  await plumbline.until('the hook', async () =>
    (await plumbline.view('shop')).status.reconcileRequested ? true : undefined,
  );
  await client.flushall();
  resolve();
  const run = await plumbline.untilRun('shop', ['applied'], second.number);
  expect(run.digest).toBe(last);
  expect(last).not.toBe(first);
  expect(plumbline.engine.log).toEqual(['create web', 'update web', 'update web']);
});

it('an approval whose job was flushed is applied', async () => {
  plumbline = await startTestPlumbline({ redisUrl: redis.url });
  await plumbline.stack('shop');
  await plumbline.push({ resources: { web: { size: 1 } } });
  const waiting = await plumbline.untilRun('shop', ['awaiting_approval']);
  await plumbline.approve('shop', waiting);
  await client.flushall();
  expect(await plumbline.untilRun('shop', ['applied'])).toMatchObject({ number: waiting.number });
});
