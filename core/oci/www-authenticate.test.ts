import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChallenges, type Challenge } from './www-authenticate.ts';

describe('parseChallenges', () => {
  it.each<[string, Challenge[]]>([
    ['', []],
    ['Basic realm="r"', [{ scheme: 'basic', params: { realm: 'r' } }]],
    ['Basic', [{ scheme: 'basic', params: {} }]],
    [
      'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
      [
        {
          scheme: 'bearer',
          params: {
            realm: 'https://auth.docker.io/token',
            service: 'registry.docker.io',
            scope: 'repository:a/b:pull,push',
          },
        },
      ],
    ],
    [
      'BEARER Realm = "https://a/t" , SERVICE=svc',
      [{ scheme: 'bearer', params: { realm: 'https://a/t', service: 'svc' } }],
    ],
    [
      'Basic realm="a, Bearer realm=x", Bearer realm="https://b/t"',
      [
        { scheme: 'basic', params: { realm: 'a, Bearer realm=x' } },
        { scheme: 'bearer', params: { realm: 'https://b/t' } },
      ],
    ],
    [
      'Negotiate, Basic realm="a \\"quoted\\" one"',
      [
        { scheme: 'negotiate', params: {} },
        { scheme: 'basic', params: { realm: 'a "quoted" one' } },
      ],
    ],
    ['Bearer realm=https://a/t,service=s', [{ scheme: 'bearer', params: { realm: 'https://a/t', service: 's' } }]],
    ['Bearer realm="first",realm="second"', [{ scheme: 'bearer', params: { realm: 'first' } }]],
    ['Bearer realm="never closed', [{ scheme: 'bearer', params: { realm: 'never closed' } }]],
    [',,, realm="no scheme"', []],
    [
      'Bearer error="invalid_token",, realm="r"',
      [{ scheme: 'bearer', params: { error: 'invalid_token', realm: 'r' } }],
    ],
  ])('reads %s', (header, expected) => {
    expect(parseChallenges(header)).toEqual(expected);
  });

  it('reads back any parameters that were quoted', () => {
    const values = fc.string({ maxLength: 40 });
    fc.assert(
      fc.property(values, values, (realm, scope) => {
        const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;
        const [challenge] = parseChallenges(`Bearer realm=${quote(realm)}, scope=${quote(scope)}`);
        expect(challenge?.params).toEqual({ realm, scope });
      }),
    );
  });

  it('never throws, and ends, on any text', () => {
    const noise = fc.array(fc.constantFrom('"', '\\', ',', '=', ' ', 'Bearer', 'realm', '\t', 'é'), { maxLength: 200 });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 500 }),
          noise.map((parts) => parts.join('')),
        ),
        (header) => {
          expect(Array.isArray(parseChallenges(header))).toBe(true);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('reads back any list of challenges', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,10}$/);
    const params = fc.dictionary(name, fc.string({ maxLength: 30 }), { maxKeys: 5, noNullPrototype: true });
    const challenges = fc.array(fc.record({ scheme: name, params }), { maxLength: 4 });
    fc.assert(
      fc.property(challenges, (given) => {
        const header = given.map(({ scheme, params: own }) => {
          const pairs = Object.entries(own).map(([key, value]) => `${key}="${value.replace(/["\\]/g, '\\$&')}"`);
          return `${scheme} ${pairs.join(', ')}`;
        });
        expect(parseChallenges(header.join(', '))).toEqual(given);
      }),
    );
  });

  it.each(['"', '\\', ',', '=', ' ', 'a', 'a=', 'a="', 'Bearer ', 'a=b,', '"\\"', '\t='])(
    'takes no longer than its length asks for on 64 KiB of %j',
    (part) => {
      const header = part.repeat(Math.ceil(65_536 / part.length));
      const startedAt = performance.now();
      expect(Array.isArray(parseChallenges(`Bearer realm=${header}`))).toBe(true);
      // Far above what a linear scan needs and far below what a quadratic one takes.
      expect(performance.now() - startedAt).toBeLessThan(500);
    },
  );
});
