import type { Grace } from './protocol.ts';

/**
 * Stops an engine politely: SIGINT (cancel: no new steps, the state is saved), SIGINT again (terminate), then the kill.
 * Source: pulumi's signal handling; many providers ignore the first.
 */
export function escalate(interrupt: () => void, kill: () => void, [afterFirst, afterSecond]: Grace): void {
  interrupt();
  setTimeout(() => {
    interrupt();
    setTimeout(kill, afterSecond).unref();
  }, afterFirst).unref();
}
