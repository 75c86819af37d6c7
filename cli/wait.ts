import { setTimeout as delay } from 'node:timers/promises';
import { failure, usage } from './error.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { DURATION_PATTERN } from '#core/domain/manifest-parts.ts';

const POLL_MS = 500;

/** Milliseconds of what a person wrote, such as 90s or 10m. @throws CliError */
export function durationMs(text: string): number {
  if (!new RegExp(DURATION_PATTERN).test(text)) throw usage(`${JSON.stringify(text)} is no duration; write 90s or 10m`);
  return parseDuration(text);
}

/** Looks until `done` is true; on time-out fails with the last answer's words. */
export async function waitUntil<T>(
  look: () => Promise<T>,
  done: (answer: T) => boolean,
  options: { limitMs: number; last: (answer: T) => string },
): Promise<T> {
  const end = performance.now() + options.limitMs;
  for (;;) {
    const answer = await look();
    if (done(answer)) return answer;
    if (performance.now() > end) throw failure(`waited ${options.limitMs / 1000} s in vain: ${options.last(answer)}`);
    await delay(POLL_MS);
  }
}
