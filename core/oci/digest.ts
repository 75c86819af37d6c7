import { createHash, type Hash } from 'node:crypto';
import { stalled } from '#core/domain/errors.ts';
import { isDigest } from '#core/domain/reference.ts';

/** `sha256:<hex>` of the exact bytes. */
export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/**
 * A running hash for the algorithm a digest names; `digest.slice(digest.indexOf(':') + 1)` is what it must come to.
 * @throws ReconcileError stalled InvalidReference for anything but sha256 and sha512
 */
function hashFor(digest: string): Hash {
  if (!isDigest(digest)) throw stalled('InvalidReference', `${digest.slice(0, 80)} is no sha256 or sha512 digest`);
  return createHash(digest.slice(0, digest.indexOf(':')));
}

/** Whether the bytes have the digest. */
export function hasDigest(bytes: Uint8Array, digest: string): boolean {
  return digest === `${digest.slice(0, digest.indexOf(':'))}:${hashFor(digest).update(bytes).digest('hex')}`;
}

/** What a stream must come to; `what` names it in messages. */
export interface Expected {
  digest: string;
  size?: number;
  what: string;
}

/**
 * Passes chunks on and checks size and digest; the last chunk is out before the digest is known, so nothing may be used
 * before the stream has ended without an error. Data past the size ends the stream at once.
 * @throws ReconcileError stalled DigestMismatch
 */
export async function* checked(
  source: AsyncIterable<Uint8Array>,
  expected: Expected,
): AsyncGenerator<Uint8Array, void> {
  const hash = hashFor(expected.digest);
  let seen = 0;
  for await (const chunk of source) {
    seen += chunk.byteLength;
    if (expected.size !== undefined && seen > expected.size) {
      throw mismatch(expected, `it is longer than the ${expected.size} bytes of its descriptor`);
    }
    hash.update(chunk);
    yield chunk;
  }
  if (expected.size !== undefined && seen !== expected.size) {
    throw mismatch(expected, `it ended after ${seen} of ${expected.size} bytes`);
  }
  const got = `${expected.digest.slice(0, expected.digest.indexOf(':'))}:${hash.digest('hex')}`;
  if (got !== expected.digest) throw mismatch(expected, `its bytes have the digest ${got}`);
}

function mismatch(expected: Expected, why: string) {
  return stalled(
    'DigestMismatch',
    `${expected.what} is not ${expected.digest}: ${why}; check the registry, push it again, then \`plumb reconcile\``,
  );
}
