import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyStates, needsSuccessor, PUBLISH_AHEAD_MS, TOKEN_LIFE_MS, type KeyAge } from './key-states.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const START = Date.UTC(2026, 0, 1);

/** Keys by the day they are made. */
const made = (...days: number[]): KeyAge[] =>
  days.map((day, index) => ({ kid: `k${index}`, createdAt: START + day * DAY }));
const at = (days: number) => START + days * DAY;

describe('keys that sign tokens', () => {
  it.each<[string, KeyAge[], number, Record<string, string>]>([
    ['the first signs at once', made(0), 0, { k0: 'signing' }],
    ['a new one is announced before it signs', made(0, 30), 30.9, { k0: 'signing', k1: 'announced' }],
    ['it signs when every cloud has it', made(0, 30), 31, { k0: 'retired', k1: 'signing' }],
    ['the old one stays while its tokens and its set are about', made(0, 30), 32, { k0: 'retired', k1: 'signing' }],
    ['and goes then', made(0, 30), 32.01, { k0: 'gone', k1: 'signing' }],
    [
      'of two made at once the later signs',
      made(0, 30, 30.0001),
      31.01,
      { k0: 'retired', k1: 'retired', k2: 'signing' },
    ],
    ['of two first ones the earlier signs', made(0, 0.0001), 0.5, { k0: 'signing', k1: 'announced' }],
    ['a clock that was turned back leaves the oldest', made(0, 30), -5, { k0: 'signing', k1: 'announced' }],
  ])('%s', (_, keys, days, states) => {
    expect(Object.fromEntries(keyStates(keys, at(days)))).toEqual(states);
  });

  it.each<[KeyAge[], number, boolean]>([
    [[], 0, true],
    [made(0), 29, false],
    [made(0), 30, true],
    [made(0, 30), 31, false],
    [made(0, 30), 60, true],
  ])('of %j after %d days a successor is needed: %j', (keys, days, needed) => {
    expect(needsSuccessor(keys, at(days))).toBe(needed);
  });

  it('never leave a token that lives without the key a cloud needs for it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 200 * 24 }), { minLength: 1, maxLength: 6 }),
        fc.nat(200 * 24),
        (hours, now) => {
          const keys = [...new Set(hours)].map((hour) => ({ kid: `k${hour}`, createdAt: START + hour * HOUR }));
          const known = keys.filter((key) => key.createdAt <= START + now * HOUR);
          if (known.length === 0) return;
          const signs = [...keyStates(known, START + now * HOUR)].filter(([, state]) => state === 'signing');
          expect(signs).toHaveLength(1);
          // Whatever is made later: until its last token is over, and a day-old set with it, the key is published.
          const late = START + now * HOUR + TOKEN_LIFE_MS + PUBLISH_AHEAD_MS - 1;
          const later = keys.filter((key) => key.createdAt <= late);
          expect(keyStates(later, late).get(signs[0]?.[0] ?? '')).not.toBe('gone');
        },
      ),
    );
  });

  it('are in the set that a cloud fetched a day ago when they begin to sign, but for the very first', () => {
    const keys = made(0, 30, 60);
    for (let hour = 24; hour < 100 * 24; hour += 1) {
      const now = START + hour * HOUR;
      const signing = [
        ...keyStates(
          keys.filter((key) => key.createdAt <= now),
          now,
        ),
      ].find(([, state]) => state === 'signing');
      const dayAgo = keyStates(
        keys.filter((key) => key.createdAt <= now - DAY),
        now - DAY,
      );
      expect([...dayAgo.keys()]).toContain(signing?.[0]);
    }
  });
});
