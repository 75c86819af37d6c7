import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { within } from './within.ts';

/** As fetches do: it rejects with the reason of the signal. */
async function slow(signal: AbortSignal): Promise<string> {
  await delay(60_000, undefined, { signal, ref: false }).catch(() => signal.throwIfAborted());
  return 'done';
}
const never = new AbortController().signal;

it('gives what comes in time', async () => {
  expect(await within(60_000, never, 'too slow', async () => 'done')).toBe('done');
});

it('ends what is too slow, as something that may pass', async () => {
  await expect(within(20, never, 'the registry is too slow', slow)).rejects.toMatchObject({
    kind: 'transient',
    reason: 'SourceUnreachable',
    message: 'the registry is too slow',
  });
});

it('lets the abort of the caller and other errors through as they are', async () => {
  const caller = AbortSignal.abort(new Error('canceled'));
  await expect(within(60_000, caller, 'too slow', slow)).rejects.toThrow('canceled');
  const failing = async () => await Promise.reject(new Error('refused'));
  await expect(within(60_000, never, 'too slow', failing)).rejects.toThrow('refused');
});
