/**
 * Lets at most `max` of what it is given run at once; the others wait in their order. What runs inside must not ask the
 * same limiter again, or all might wait for each other.
 */
export function createLimiter(max: number): <T>(act: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (act) => {
    if (running >= max) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await act();
    } finally {
      // The place is handed on, so it never looks free to somebody who comes in between.
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
