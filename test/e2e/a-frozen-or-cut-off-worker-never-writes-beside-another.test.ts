import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '#core/config.ts';
import type { EventView, RunView } from '#core/domain/view.ts';
import { manifest } from '../../scripts/demo/api.ts';
import { ensureToolchain } from '../../toolchain/setup.ts';
import { startCloud, type Cloud } from '../soak/cloud.ts';
import { startCutOff, type CutOff } from '../soak/cut-off.ts';
import { startInstallation, type Installation } from '../soak/installation.ts';
import type { Desired } from '../soak/kills.ts';
import { createStory, type Story } from '../soak/story.ts';
import { runsOf } from '../soak/victims.ts';

const LEASE_SECONDS = 6;
const base = '/v1/tenants/default/stacks/shop';

let dir: string;
let cloud: Cloud;
let installation: Installation;
let database: pg.Client;
let story: Story;
let desired: Desired = { a: { size: 1, zone: 0 } };
/** Of each worker: to the database, and to Redis. */
const ways: CutOff[][] = [[], []];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plumbline-frozen-'));
  cloud = await startCloud(0);
  const toolchain = await ensureToolchain(loadConfig({}));
  installation = await startInstallation(dir, toolchain, {
    workers: 2,
    concurrency: 1,
    leaseSeconds: LEASE_SECONDS,
    waysTo: async (port) => {
      const ports = ways.map(async (own) => {
        const way = await startCutOff(port);
        own.push(way);
        return way.port;
      });
      return await Promise.all(ports);
    },
  });
  database = new pg.Client({ connectionString: installation.databaseUrl });
  await database.connect();
  story = createStory(installation, cloud, 'shop');
  await installation.api.ask('POST', '/v1/apply', {
    manifests: [
      manifest('Stack', 'shop', {
        source: {
          repository: `oci://${installation.registry}/infra/shop`,
          ref: { tag: 'prod' },
          interval: '5s',
          verify: { unsigned: { reason: 'this is about workers' } },
        },
        pulumi: { stack: 'shop', environment: { CLOUD_URL: `${cloud.url}/shop` } },
        approval: { mode: 'auto' },
        drift: { interval: '24h' },
        retry: { interval: '1s', max: 20 },
      }),
    ],
  });
  await story.push(desired);
  await story.converge(() => undefined);
});
afterAll(async () => {
  await database.end();
  await installation.stop();
  for (const way of ways.flat()) await way.close();
  await cloud.close();
  await rm(dir, { recursive: true, force: true });
});

/** Everything that is known of runs of the stack, but for drift checks, which go on beside. */
async function diary() {
  const runs = await installation.api.ask<{ items: RunView[] }>('GET', `${base}/runs`);
  const events = await installation.api.ask<{ items: EventView[] }>('GET', '/v1/tenants/default/events?limit=200');
  return {
    runs: runs.items.filter(({ operation }) => operation !== 'drift'),
    events: events.items.filter(({ type }) => !type.startsWith('Drift')),
    writes: cloud.log.length,
  };
}

/** Milliseconds the run's lease still has, by the database's clock. */
async function leaseLeft(): Promise<number> {
  const sql = `select (extract(epoch from expires_at - clock_timestamp()) * 1000)::float8 as left from leases where lane = 'run'`;
  const { rows } = await database.query<{ left: number }>(sql);
  return rows[0]?.left ?? 0;
}

async function until(what: string, wanted: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + 120_000;
  while (!(await wanted())) {
    if (performance.now() > end) throw new Error(`waited in vain for ${what}`);
    await delay(50);
  }
}

/**
 * Strikes the worker that applies the next version in the middle of a create, and has the other take over; the request of the
 * struck run never arrives. `heal` is what lets the struck one go on.
 */
async function expectTakenOver(
  name: string,
  strike: (worker: number) => void,
  heal: (worker: number) => void,
): Promise<void> {
  const struck = Promise.withResolvers<number>();
  cloud.onMoment(async ({ step, phase }) => {
    if (step !== 'create' || phase !== 'before') return false;
    cloud.onMoment(async () => false);
    const worker = installation.workers().findIndex((pid) => runsOf('shop', pid).length > 0);
    strike(worker);
    struck.resolve(worker);
    return true;
  });
  desired = { ...desired, [name]: { size: 1, zone: 0 } };
  await story.push(desired);
  const worker = await struck.promise;
  const pid = installation.workers()[worker] ?? 0;
  await until('the guardian', () => runsOf('shop', pid).length === 0);
  // Nobody else may start before the lease ends, and by then nothing of the run is left.
  expect(await leaseLeft()).toBeGreaterThan(0);
  await story.converge(() => undefined);
  await story.check();
  const before = await diary();
  heal(worker);
  await delay(2000);
  expect(await diary()).toEqual(before);
  expect(before.runs.map(({ reason }) => reason)).toContain('Interrupted');
}

it('a worker that is frozen: its run is killed before the lease ends, another goes on, and once thawed it writes nothing', async () => {
  await expectTakenOver(
    'frozen',
    (worker) => process.kill(installation.workers()[worker] ?? 0, 'SIGSTOP'),
    (worker) => process.kill(installation.workers()[worker] ?? 0, 'SIGCONT'),
  );
});

it('a worker that is cut off from database and queue: the same, and both workers serve afterwards', async () => {
  await expectTakenOver(
    'cut-off',
    (worker) => ways[worker]?.forEach((way) => way.cut(true)),
    (worker) => ways[worker]?.forEach((way) => way.cut(false)),
  );
  desired = { ...desired, last: { size: 1, zone: 0 } };
  await story.push(desired);
  await story.converge(() => undefined);
  await story.check();
  // Whether a person was asked for a word about the dead is left open: the number of a dead run's namespace is given to the next
  // one, and what cannot be told apart is never taken for dead.
});
