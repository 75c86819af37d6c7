const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** Life of a token, in milliseconds; that of a session made with it is the cloud's. */
export const TOKEN_LIFE_MS = 10 * MINUTE;
/** How long a cloud may go on with the key set it has fetched. */
const CACHE_MS = 24 * HOUR;
/** A key is published this long before it signs, so that every cloud has it by then. */
export const PUBLISH_AHEAD_MS = CACHE_MS;
/** How long a key signs before the next one does. */
const SIGNING_MS = 30 * 24 * HOUR;

export interface KeyAge {
  kid: string;
  /** Milliseconds since 1970. */
  createdAt: number;
}

/** All but `gone` are published, and exactly one signs. */
export type KeyState = 'announced' | 'signing' | 'retired' | 'gone';

function inOrder(keys: readonly KeyAge[]): KeyAge[] {
  return keys.toSorted((a, b) => a.createdAt - b.createdAt || (a.kid < b.kid ? -1 : 1));
}

/**
 * What each key is at a time. The newest that has been published long enough signs; where none has, as at the first start, the
 * oldest does, because nobody trusts an earlier one. A key that signs no more stays published until its last token has
 * expired and every cloud has forgotten the set it came with.
 */
export function keyStates(keys: readonly KeyAge[], now: number): Map<string, KeyState> {
  const ordered = inOrder(keys);
  const signing = Math.max(0, ordered.findLastIndex((key) => now >= key.createdAt + PUBLISH_AHEAD_MS)); // prettier-ignore
  return new Map(
    ordered.map((key, index) => {
      if (index === signing) return [key.kid, 'signing'];
      if (index > signing) return [key.kid, 'announced'];
      const next = ordered[index + 1]?.createdAt ?? now;
      const published = now < next + PUBLISH_AHEAD_MS + TOKEN_LIFE_MS + CACHE_MS;
      return [key.kid, published ? 'retired' : 'gone'];
    }),
  );
}

/** Whether a new key has to be made now, so that it can sign when the newest one has signed long enough. */
export function needsSuccessor(keys: readonly KeyAge[], now: number): boolean {
  const newest = inOrder(keys).at(-1);
  return newest === undefined || now >= newest.createdAt + SIGNING_MS;
}
