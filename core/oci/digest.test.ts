import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checked, digestOf, hasDigest } from './digest.ts';

const bytes = Buffer.from('plumb');
const sha512 = `sha512:${createHash('sha512').update(bytes).digest('hex')}`;

describe('digests', () => {
  it.each([
    [digestOf(bytes), true],
    [sha512, true],
    [digestOf(Buffer.from('other')), false],
  ])('%s of the bytes: %s', (digest, expected) => {
    expect(hasDigest(bytes, digest)).toBe(expected);
  });

  it.each(['md5:d41d8cd98f00b204e9800998ecf8427e', 'sha256:abc', 'latest', ''])('%s is refused', (digest) => {
    expect(() => hasDigest(bytes, digest)).toThrow(expect.objectContaining({ reason: 'InvalidReference' }));
  });

  it('stops reading as soon as a stream is longer than it may be', async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array, void> {
      for (;;) {
        given += 1;
        yield bytes;
      }
    }
    const reading = (async () => {
      for await (const chunk of checked(endless(), { digest: sha512, size: 12, what: 'it' })) {
        expect(chunk).toEqual(bytes);
        if (given > 100) throw new Error('it went on reading');
      }
    })();
    await expect(reading).rejects.toMatchObject({ kind: 'stalled', reason: 'DigestMismatch' });
    expect(given).toBe(3);
  });
});
