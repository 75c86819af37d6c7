import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { verifyCosign } from './cosign.ts';
import { keyBundle, makeKeys, Shelf, statement, trusting } from './cosign.fixture.ts';
import { createSigstore } from './keyless.fixture.ts';
import type { CosignTrust } from './verdict.ts';

const IDENTITY = {
  subject: 'https://github.com/acme/shop/.github/workflows/release.yml@refs/tags/v1',
  issuer: 'https://token.actions.githubusercontent.com',
};
const keys = makeKeys();
let sigstore: Awaited<ReturnType<typeof createSigstore>>;
let policy: CosignTrust;
beforeAll(async () => {
  sigstore = await createSigstore();
  policy = trusting(keys.pem, { identities: [IDENTITY], trustedRoot: sigstore.root });
});

async function judge(shelf: Shelf, digest: string, bundle: unknown) {
  shelf.attach(digest, bundle);
  return verifyCosign(shelf.context(digest), policy);
}

/** Every path to a value in JSON. */
function pathsOf(value: unknown, path: string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...path, key]))];
}

/** A copy with another value at a path. */
function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by;
  if (Array.isArray(value))
    return value.map((inner: unknown, index): unknown => (String(index) === key ? replaced(inner, rest, by) : inner));
  const entries = Object.entries(value ?? {});
  return Object.fromEntries(entries.map(([name, inner]) => [name, name === key ? replaced(inner, rest, by) : inner]));
}

const junk = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString('base64')),
  fc.constantFrom('', '0', '-1', '99999999999999999999', null),
);

describe('a bundle', () => {
  it('of any JSON is refused in words, never believed', async () => {
    await fc.assert(
      fc.asyncProperty(junk, async (bundle) => {
        const shelf = new Shelf();
        expect((await judge(shelf, shelf.artifact(), Buffer.from(JSON.stringify(bundle)))).type).toBe('refused');
      }),
      { numRuns: 200 },
    );
  });

  it.each(['key', 'certificate'] as const)(
    'by a %s with anything changed breaks nothing, and is believed only with its payload',
    async (by) => {
      const shelf = new Shelf();
      const digest = shelf.artifact();
      const content = statement({ digest });
      const good = by === 'key' ? keyBundle(content, keys.privateKey) : await sigstore.bundle(content);
      expect((await judge(shelf, digest, good)).type).toBe('verified');
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...pathsOf(good)), junk, async (path, by) => {
          const other = new Shelf();
          const changed = replaced(good, path, by);
          const verdict = await judge(other, other.artifact(), Buffer.from(JSON.stringify(changed)));
          if (verdict.type === 'verified') expect(changed).toMatchObject({ dsseEnvelope: good.dsseEnvelope });
        }),
        { numRuns: 400 },
      );
    },
  );
});
