import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { childrenOf, eventually, withMarker } from '../process-list.fixture.ts';

const scratch = mkdtempSync(join(tmpdir(), 'plumb-guardian-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const fixture = join(import.meta.dirname, '..', 'process.fixture.ts');

/** A worker whose program has three descendants: a child, a daemon, and a daemon that forgot its environment. */
async function startWorker(marker: string) {
  const script = `setsid sleep ${marker} & env -i setsid -f sleep ${marker}; sleep ${marker}`;
  const worker = spawn(process.execPath, [fixture], { stdio: ['pipe', 'ignore', 'ignore'] });
  worker.stdin.end(`${script}\n${scratch}`);
  const isUp = await eventually(() => withMarker(`sleep\0${marker}`).length === 3, 10_000);
  const [unshare = 0] = childrenOf(worker.pid ?? 0);
  const [guardian = 0] = childrenOf(unshare);
  return { isUp, worker: worker.pid ?? 0, unshare, guardian, kill: () => worker.kill('SIGKILL') };
}

describe.skipIf(process.platform !== 'linux')('no process of a run is left', { timeout: 30_000 }, () => {
  it.each([
    ['worker', 'SIGKILL'],
    ['worker', 'SIGSTOP'],
    ['worker', 'SIGTERM'],
    ['unshare', 'SIGKILL'],
    ['guardian', 'SIGKILL'],
  ] as const)('when its %s gets %s', async (victim, signal) => {
    const marker = `9999.${Math.floor(Math.random() * 1e9)}`;
    const tree = await startWorker(marker);
    expect(tree).toMatchObject({ isUp: true, unshare: expect.any(Number) });
    expect(tree.guardian).toBeGreaterThan(1);
    process.kill(tree[victim], signal);
    const isGone = await eventually(() => withMarker(marker).length === 0, 8_000);
    tree.kill();
    expect(isGone).toBe(true);
  });
});
