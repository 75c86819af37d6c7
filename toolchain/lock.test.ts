import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withLock } from './lock.ts';

const modulePath = join(import.meta.dirname, 'lock.ts');

describe('withLock', { timeout: 30_000 }, () => {
  let dir = '';
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'plumbline-lock-'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  /** A process that takes the lock `times` times and adds one to the counter file under it. */
  function counting(lock: string, counter: string, times: number) {
    const program = `
      import { readFile, writeFile } from 'node:fs/promises';
      import { withLock } from ${JSON.stringify(modulePath)};
      for (let i = 0; i < ${times}; i++) await withLock(${JSON.stringify(lock)}, { limitMs: 20000 }, async () => {
        const n = Number(await readFile(${JSON.stringify(counter)}, 'utf8'));
        await writeFile(${JSON.stringify(counter)}, String(n + 1));
      });`;
    return spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: 'inherit' });
  }

  it('lets one process at a time in', async () => {
    const counter = join(dir, 'counter');
    await writeFile(counter, '0');
    const processes = [1, 2, 3].map(() => counting(join(dir, 'a'), counter, 10));
    await Promise.all(processes.map((child) => once(child, 'exit')));
    expect(processes.map((child) => child.exitCode)).toEqual([0, 0, 0]);
    expect(await readFile(counter, 'utf8')).toBe('30');
  });

  it('takes over from a holder that was killed, and leaves nothing behind', async () => {
    const lock = join(dir, 'b');
    const program = `
      import { withLock } from ${JSON.stringify(modulePath)};
      await withLock(${JSON.stringify(lock)}, { limitMs: 1000 }, () => new Promise((r) => setTimeout(r, 60000)));`;
    const holder = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: 'inherit' });
    while ((await readFile(lock, 'utf8').catch(() => '')) === '') await delay(20);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    expect(await withLock(lock, { limitMs: 5000 }, () => Promise.resolve('mine'))).toBe('mine');
    expect((await readdir(dir)).filter((name) => name.startsWith('b'))).toEqual([]);
  });

  it('gives up, naming the holder, after its limit', async () => {
    const lock = join(dir, 'c');
    await withLock(lock, { limitMs: 1000 }, async () => {
      const second = withLock(lock, { limitMs: 100 }, () => Promise.resolve());
      await expect(second).rejects.toThrow(`held by process ${process.pid}`);
    });
  });
});
