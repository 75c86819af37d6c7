import type { Duplex } from 'node:stream';

/**
 * Hands on what each of two connections says to the other. One that ends well ends the other when all is written; one that
 * breaks breaks the other.
 */
export function joinStreams(first: Duplex, second: Duplex): void {
  first.pipe(second).pipe(first);
  tie(first, second);
}

/** The ends alone, for connections whose bytes are handed on later. */
export function tie(first: Duplex, second: Duplex): void {
  for (const [side, other] of [
    [first, second],
    [second, first],
  ] as const) {
    side.on('error', () => other.destroy());
    side.on('close', () => {
      if (side.readableEnded) other.end(() => other.destroy());
      else other.destroy();
    });
  }
}
