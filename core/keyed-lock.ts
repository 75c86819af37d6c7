/** Runs an action after every earlier one with the same key has ended, in the order of the calls. */
export type KeyedLock = <T>(key: string, action: () => Promise<T>) => Promise<T>;

/** Makes a lock for this process; keys that nobody waits for take no memory. */
export function createKeyedLock(): KeyedLock {
  const tails = new Map<string, Promise<void>>();
  return async (key, action) => {
    const earlier = tails.get(key);
    const turn = Promise.withResolvers<void>();
    tails.set(key, turn.promise);
    try {
      await earlier;
      return await action();
    } finally {
      turn.resolve();
      if (tails.get(key) === turn.promise) tails.delete(key);
    }
  };
}
