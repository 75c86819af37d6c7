import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { randomUUID } from 'node:crypto';
import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

const HOOKS = 1000;
/** A slow machine under load takes its time for a thousand requests. */
const LIMIT_MS = 180_000;
const CHANNEL = 'undici:request:create';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

/** Counts the requests this process sends to the registry while `act` goes on. */
async function countRequests(act: () => Promise<void>): Promise<number> {
  let count = 0;
  const seen = (message: unknown) => {
    if (JSON.stringify(message).includes(plumbline.registryHost)) count += 1;
  };
  subscribe(CHANNEL, seen);
  try {
    await act();
  } finally {
    unsubscribe(CHANNEL, seen);
  }
  return count;
}

async function post(id: string): Promise<number> {
  const target = { mediaType: 'application/vnd.oci.image.manifest.v1+json', repository: 'infra/shop', tag: 'prod' };
  const answer = await fetch(plumbline.hook.url, {
    method: 'POST',
    headers: { authorization: `Bearer ${plumbline.hook.secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ events: [{ id, action: 'push', target }] }),
    signal: AbortSignal.timeout(20_000),
  });
  await answer.arrayBuffer();
  return answer.status;
}

async function burst(idOf: () => string): Promise<void> {
  const left = Array.from({ length: HOOKS }, idOf);
  const statuses = new Set<number>();
  const sender = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) statuses.add(await post(id));
  };
  await Promise.all(Array.from({ length: 20 }, sender));
  expect([...statuses]).toEqual([202]);
  await plumbline.until('the burst to be handled', async () =>
    (await plumbline.view('shop')).status.reconcileRequested ? undefined : true,
  );
}

async function waiting() {
  plumbline = await startTestPlumbline({ webhook: false });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.stack('shop');
  await plumbline.untilRun('shop', ['awaiting_approval']);
}

it(
  `${HOOKS} times the same event: one look at the registry, no run`,
  async () => {
    await waiting();
    const id = randomUUID();
    expect(await countRequests(() => burst(() => id))).toBe(1);
    expect(await plumbline.runs('shop')).toHaveLength(1);
  },
  LIMIT_MS,
);

it(
  `${HOOKS} different events of the same push: one run, and a look at the registry stands for many of them`,
  async () => {
    await waiting();
    const digest = await plumbline.push({ resources: { web: { size: 2 } } });
    const requests = await countRequests(() => burst(randomUUID));
    await plumbline.untilRun('shop', ['awaiting_approval'], 1);
    const runs = await plumbline.runs('shop');
    expect(runs.map((run) => `${run.number} ${run.state}`)).toEqual(['2 awaiting_approval', '1 superseded']);
    expect(runs[0]?.digest).toBe(digest);
    // Measured: 19. Events that arrive while a look is under way share the next one.
    expect(requests).toBeLessThanOrEqual(HOOKS / 10);
  },
  LIMIT_MS,
);
