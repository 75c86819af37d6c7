import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createLimiter } from './limiter.ts';

describe('createLimiter', () => {
  it('runs as many at once as it may, the others in their order', async () => {
    const limit = createLimiter(3);
    const begun: number[] = [];
    let [running, most] = [0, 0];
    await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        limit(async () => {
          begun.push(at);
          most = Math.max(most, (running += 1));
          await sleep((at * 7) % 5);
          running -= 1;
        }),
      ),
    );
    expect(most).toBe(3);
    expect(begun).toEqual(Array.from({ length: 20 }, (_, at) => at));
  });

  it('goes on after failures and hands out what came back', async () => {
    const limit = createLimiter(1);
    const failed = limit(() => Promise.reject(new Error('no')));
    const fine = limit(async () => 'yes');
    await expect(failed).rejects.toThrow('no');
    expect(await fine).toBe('yes');
    expect(await limit(async () => 1)).toBe(1);
  });
});
