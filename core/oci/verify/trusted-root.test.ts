import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSigstore } from './keyless.fixture.ts';
import { parseTrustedRoot, publicGoodRoot, readTrustedRoot } from './trusted-root.ts';

const KEYS = { certificates: false };
const IDENTITIES = { certificates: true };

let root: Awaited<ReturnType<typeof createSigstore>>['root'];
let cachePath: string;
beforeAll(async () => {
  ({ root } = await createSigstore());
  cachePath = await mkdtemp(join(tmpdir(), 'plumbline-tuf-'));
});
afterAll(() => rm(cachePath, { recursive: true, force: true }));

describe('a trusted root', () => {
  it.each(['+json;version=0.1', '.v0.2+json'])('of the media type …trustedroot%s is read', async (version) => {
    const mediaType = `application/vnd.dev.sigstore.trustedroot${version}`;
    const parsed = parseTrustedRoot(JSON.stringify({ ...root, mediaType }), 'secret root');
    expect((await readTrustedRoot(parsed, IDENTITIES)).tlogs).toHaveLength(1);
  });

  it.each([
    ['no JSON', 'hello'],
    ['a text', '"trustedroot"'],
    ['of another type', JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json' })],
    [
      'of a type that only begins the same',
      JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.trustedroot.v9+json' }),
    ],
    ['larger than 1 MiB', ' '.repeat(1024 * 1024 + 1)],
  ])('is refused when it is %s, naming where it is from', (_, text) => {
    expect(() => parseTrustedRoot(text, 'secret root')).toThrow(/secret root/);
  });

  it.each([
    ['nothing', undefined, KEYS],
    ['no log', { tlogs: [] }, KEYS],
    ['no authority', { certificateAuthorities: [] }, IDENTITIES],
    ['no certificate log', { ctlogs: [] }, IDENTITIES],
    ['a key that is none', { tlogs: [{ publicKey: { rawBytes: 'AAAA' }, logId: { keyId: 'AAAA' } }] }, KEYS],
  ])('is refused when it holds %s', async (_, changes, needs) => {
    const value = changes === undefined ? undefined : { ...root, ...changes };
    await expect(readTrustedRoot(value, needs)).rejects.toMatchObject({ kind: 'stalled', reason: 'SpecInvalid' });
  });

  it('needs no authorities where only keys sign', async () => {
    const material = await readTrustedRoot({ ...root, certificateAuthorities: [], ctlogs: [] }, KEYS);
    expect(material.tlogs).toHaveLength(1);
  });
});

describe('a trusted root that is kept fresh', () => {
  it.each([undefined, ''])('is not fetched unless somebody asked for it (%j)', async (mirrorUrl) => {
    await expect(publicGoodRoot({ mirrorUrl, cachePath })).rejects.toMatchObject({
      reason: 'SpecInvalid',
      message: expect.stringMatching(/mount a trusted_root\.json/),
    });
  });

  it('has to be of a Sigstore whose first root is known', async () => {
    const mirrorUrl = 'http://127.0.0.1:9';
    await expect(publicGoodRoot({ mirrorUrl, cachePath })).rejects.toMatchObject({ reason: 'SpecInvalid' });
  });
});
