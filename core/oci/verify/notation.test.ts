import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { describe, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { ARTIFACT, authority, EXPIRY, issue, NOW, SCHEME, Shelf, sign, trusting } from './notation.fixture.ts';
import type { Attached, CertificateOptions, Issued, SignOptions } from './notation.fixture.ts';
import { verifyNotation } from './notation.ts';

const ROOT = await issue(undefined, { subject: 'CN=root', extensions: authority() });
const MIDDLE = await issue(ROOT, { subject: 'CN=middle', extensions: authority(0) });
const LEAF = await issue(MIDDLE);
const CHAIN = [LEAF, MIDDLE, ROOT];

const { digitalSignature, keyCertSign, keyEncipherment } = x509.KeyUsageFlags;
const usage = (flags: number, critical = true) => new x509.KeyUsagesExtension(flags, critical);
const purpose = (oid: string) => new x509.ExtendedKeyUsageExtension([oid]);

async function verdictOn(attached: Attached[], policy = trusting(ROOT), now = NOW) {
  const shelf = new Shelf();
  for (const one of attached) shelf.attach(one);
  return verifyNotation(shelf.context(now), policy);
}

const verdictOf = async (options: Partial<SignOptions>, policy = trusting(ROOT), now = NOW) =>
  verdictOn([{ envelope: await sign({ chain: CHAIN, ...options }) }], policy, now);

const leafOf = async (options: CertificateOptions) => [await issue(MIDDLE, options), MIDDLE, ROOT];
const refusal = (why: string) => ({ type: 'refused', message: expect.stringContaining(why) });

describe('a Notation signature counts', () => {
  it('and says who signed and until when that holds', async () => {
    expect(await verdictOf({})).toEqual({
      type: 'verified',
      signers: [
        {
          format: 'notation',
          name: 'CN=ci, C=US, ST=WA, O=acme',
          digest: ARTIFACT.digest,
          statement: 'artifact',
          validUntil: new Date('2027-01-01T00:00:00Z'),
        },
      ],
    });
  });

  it.each(['ES384', 'ES512', 'PS256', 'PS384', 'PS512'] as const)('with a key for %s', async (algorithm) => {
    const chain = await leafOf({ algorithm });
    expect(await verdictOf({ chain })).toMatchObject({ type: 'verified' });
  });

  it('when a self-signed signing certificate is itself in the store', async () => {
    const alone = await issue(undefined);
    expect(await verdictOf({ chain: [alone] }, trusting(alone))).toMatchObject({ type: 'verified' });
  });

  it('until it expires, when that is sooner than its certificates', async () => {
    const header = { [EXPIRY]: '2026-07-01T00:00:00Z' };
    const verdict = await verdictOf({ header, crit: [SCHEME, EXPIRY] });
    expect(verdict).toMatchObject({ signers: [{ validUntil: new Date('2026-07-01T00:00:00Z') }] });
  });

  it('when only the type of its config tells that it is one', async () => {
    const envelope = await sign({ chain: CHAIN });
    expect(await verdictOn([{ envelope, legacy: true }])).toMatchObject({ type: 'verified' });
  });

  it('beside others that do not', async () => {
    const evil = await issue(undefined);
    const attached = [{ envelope: 'junk' }, { envelope: await sign({ chain: [evil] }) }];
    const verdict = await verdictOn([...attached, { envelope: await sign({ chain: CHAIN }) }]);
    expect(verdict).toMatchObject({ type: 'verified' });
  });

  it('with a purpose of code signing and thumbprints that tell the truth', async () => {
    const chain = await leafOf({ extensions: [usage(digitalSignature), purpose('1.3.6.1.5.5.7.3.3')] });
    const prints = chain.map(({ certificate }) =>
      new X509Certificate(Buffer.from(certificate.rawData)).fingerprint256.replaceAll(':', '').toLowerCase(),
    );
    const annotations = { 'io.cncf.notary.x509chain.thumbprint#S256': JSON.stringify(prints) };
    expect(await verdictOn([{ envelope: await sign({ chain }), annotations }])).toMatchObject({ type: 'verified' });
  });
});

describe('a Notation signature does not count', () => {
  it.each<[string, () => Promise<Partial<SignOptions>>, string]>([
    [
      'of another artifact',
      async () => ({ artifact: { ...ARTIFACT, digest: `sha256:${'0'.repeat(64)}` } }),
      'signature of another artifact',
    ],
    ['over another size', async () => ({ artifact: { ...ARTIFACT, size: 1 } }), 'another size or media type'],
    [
      'by a chain that somebody made for himself with our names',
      async () => {
        const root = await issue(undefined, { subject: 'CN=root', extensions: authority() });
        return { chain: [await issue(root), root] };
      },
      'in none of the trust stores',
    ],
    [
      'by a stranger who shows our chain behind his certificate',
      async () => ({ chain: [await issue(undefined), MIDDLE, ROOT] }),
      'is self-signed and not the last',
    ],
    [
      'by a certificate that names our issuer but was not issued by it',
      async () => {
        const impostor = await issue(undefined, { subject: 'CN=middle', extensions: authority() });
        return { chain: [await issue(impostor), MIDDLE, ROOT] };
      },
      'was not issued by the next',
    ],
    ['by a chain without its root', async () => ({ chain: [LEAF, MIDDLE] }), 'no self-signed root'],
    [
      'by a chain in the wrong order',
      async () => {
        const middle = await issue(ROOT, { subject: 'CN=middle', extensions: authority() });
        return { chain: [await issue(middle), ROOT, middle] };
      },
      'the next of its chain',
    ],
    ['by another identity', () => chainOf({ subject: 'C=US, ST=WA, O=evil' }), 'none of the trusted identities'],
    [
      'by a look-alike subject',
      () => chainOf({ subject: 'C=US, ST=WA, O=acme, O=evil' }),
      'O=acme, O=evil is none of the trusted identities',
    ],
    ['by a CA', () => chainOf({ extensions: authority() }), 'is a CA'],
    ['by a leaf that may sign certificates', () => chainOf({ extensions: [usage(keyCertSign)] }), 'may not make'],
    [
      'by a leaf that may also encrypt',
      () => chainOf({ extensions: [usage(digitalSignature | keyEncipherment)] }),
      'more than digital signatures',
    ],
    ['by a leaf without key usage', () => chainOf({ extensions: [] }), 'no key usage'],
    [
      'by a leaf whose key usage is not critical',
      () => chainOf({ extensions: [usage(digitalSignature, false)] }),
      'marked critical',
    ],
    [
      'by the certificate of a web server',
      () => chainOf({ extensions: [usage(digitalSignature), purpose('1.3.6.1.5.5.7.3.1')] }),
      'other than code signing',
    ],
    [
      'by a certificate for any purpose',
      () => chainOf({ extensions: [usage(digitalSignature), purpose('2.5.29.37.0')] }),
      'other than code signing',
    ],
    ['by a certificate made with SHA-1', () => chainOf({ hash: 'SHA-1' }), 'is not signed with SHA-256'],
    [
      'below an authority without basic constraints',
      async () => {
        const odd = await issue(ROOT, { subject: 'CN=odd', extensions: [usage(keyCertSign)] });
        return { chain: [await issue(odd), odd, ROOT] };
      },
      'is no CA',
    ],
    [
      'below an authority that may not sign certificates',
      async () => {
        const [constraints] = authority();
        const extensions = [...(constraints === undefined ? [] : [constraints]), usage(digitalSignature)];
        const odd = await issue(ROOT, { subject: 'CN=odd', extensions });
        return { chain: [await issue(odd), odd, ROOT] };
      },
      'may not sign certificates',
    ],
    ['below a leaf that plays CA', async () => ({ chain: [await issue(LEAF), ...CHAIN] }), 'is no CA'],
    [
      'below more CAs than its chain allows',
      async () => {
        const third = await issue(MIDDLE, { subject: 'CN=third', extensions: authority() });
        return { chain: [await issue(third), third, MIDDLE, ROOT] };
      },
      'allows 0 CAs below it and there are 1',
    ],
    ['by an expired leaf', () => chainOf({ notAfter: new Date('2026-05-31T00:00:00Z') }), 'expired on 2026-05-31'],
    ['by a leaf of the future', () => chainOf({ notBefore: new Date('2026-06-02T00:00:00Z') }), 'valid only from'],
    [
      'that expired',
      async () => ({ header: { [EXPIRY]: '2026-06-01T12:00:00Z' }, crit: [SCHEME, EXPIRY] }),
      'the signature expired on 2026-06-01',
    ],
    ['whose expiry may be overlooked', async () => ({ header: { [EXPIRY]: '2026-07-01T00:00:00Z' } }), 'not marked'],
    [
      'that needs a plugin we do not have',
      async () => ({ header: { 'com.acme.plugin': 'x' }, crit: [SCHEME, 'com.acme.plugin'] }),
      'verification plugin',
    ],
    ['by a signing authority', async () => ({ header: { [SCHEME]: 'notary.x509.signingAuthority' } }), 'not supported'],
    ['of an unknown scheme', async () => ({ header: { [SCHEME]: 'notary.x510' } }), 'is not known'],
    ['with another kind of payload', async () => ({ header: { cty: 'application/json' } }), 'protected header'],
  ])('%s', async (_, options, why) => {
    expect(await verdictOf(await options())).toEqual(refusal(why));
  });

  const chainOf = async (options: CertificateOptions) => ({ chain: await leafOf(options) });
  const protectedOf = (header: object) => Buffer.from(JSON.stringify(header)).toString('base64url');
  const good = { cty: 'application/vnd.cncf.notary.payload.v1+json', crit: [SCHEME], [SCHEME]: 'notary.x509' };

  it.each<[string, (jws: Awaited<ReturnType<typeof sign>>) => unknown, string]>([
    [
      'with a payload that was changed',
      (jws) => ({ ...jws, payload: protectedOf({ targetArtifact: ARTIFACT, and: 'more' }) }),
      'does not hold',
    ],
    ['with the algorithm none', (jws) => ({ ...jws, protected: protectedOf({ ...good, alg: 'none' }) }), '"none"'],
    ['with a MAC', (jws) => ({ ...jws, protected: protectedOf({ ...good, alg: 'HS256' }) }), 'takes ES256 only'],
    [
      'with an algorithm of another key',
      (jws) => ({ ...jws, protected: protectedOf({ ...good, alg: 'PS256' }) }),
      'ES256',
    ],
    [
      'with an algorithm that was not signed',
      (jws) => ({ ...jws, protected: protectedOf(good), header: { ...jws.header, alg: 'ES256' } }),
      'protected header',
    ],
    [
      'with a payload that is not encoded',
      (jws) => ({ ...jws, protected: protectedOf({ ...good, alg: 'ES256', b64: false, crit: [SCHEME, 'b64'] }) }),
      '"b64"',
    ],
    ['without a chain', (jws) => ({ ...jws, header: {} }), 'flattened JWS'],
    ['with a chain of 11', (jws) => ({ ...jws, header: { x5c: Array(11).fill(jws.header.x5c[0]) } }), 'flattened JWS'],
    ['with a certificate that is junk', (jws) => ({ ...jws, header: { x5c: ['AAAA'] } }), 'cannot be read'],
    ['without an envelope', () => null, 'flattened JWS'],
    ['by the next of its chain', (jws) => ({ ...jws, header: { x5c: jws.header.x5c.slice(1) } }), 'does not hold'],
  ])('%s', async (_, change, why) => {
    expect(await verdictOn([{ envelope: change(await sign({ chain: CHAIN })) }])).toEqual(refusal(why));
  });

  it('as COSE, and says how to sign instead', async () => {
    const verdict = await verdictOn([{ envelope: {}, layerType: 'application/cose' }]);
    expect(verdict).toEqual(refusal('notation sign --signature-format jws'));
  });

  it('whose thumbprints name other certificates', async () => {
    const annotations = { 'io.cncf.notary.x509chain.thumbprint#S256': '["00"]' };
    const verdict = await verdictOn([{ envelope: await sign({ chain: CHAIN }), annotations }]);
    expect(verdict).toEqual(refusal('names other certificates'));
  });

  it('when only its intermediate is in a trust store', async () => {
    expect(await verdictOf({}, trusting(MIDDLE))).toEqual(refusal('in none of the trust stores'));
  });
});

describe('the level permissive', () => {
  const permissive = trusting(ROOT, { level: 'permissive' });

  it('remarks on expiry, where the approver sees it', async () => {
    const chain = await leafOf({ notAfter: new Date('2026-05-31T00:00:00Z') });
    expect(await verdictOf({ chain }, permissive)).toMatchObject({
      signers: [
        { name: expect.stringContaining('(permissive: the certificate CN=ci, C=US, ST=WA, O=acme expired on') },
      ],
    });
  });

  it('does not let a stranger sign', async () => {
    const stranger: Issued = await issue(undefined);
    expect(await verdictOf({ chain: [stranger] }, permissive)).toEqual(refusal('in none of the trust stores'));
  });
});

describe('looking for Notation signatures', () => {
  it('says that there is none', async () => {
    const verdict = await verdictOn([{ envelope: {}, artifactType: 'application/spdx+json' }]);
    expect(verdict).toEqual({
      type: 'missing',
      message: expect.stringContaining('no Notation signature is attached to'),
    });
  });

  it('ends at 50 of a thousand, and says so', async () => {
    const shelf = new Shelf();
    shelf.dangle(1000);
    const verdict = await verifyNotation(shelf.context(), trusting(ROOT));
    expect(verdict).toEqual(refusal('and 47 more; 950 more attached manifests were not looked at'));
    expect(shelf.fetched).toBe(50);
  });

  it('throws on what a registry that is away throws, instead of blaming the signature', async () => {
    const shelf = new Shelf();
    shelf.dangle(1);
    const context = shelf.context();
    const away = transient('SourceUnreachable', 'away');
    const source = { ...context.source, fetch: () => Promise.reject(away) };
    await expect(verifyNotation({ ...context, source }, trusting(ROOT))).rejects.toBe(away);
  });

  it.each([
    ['a store without certificates', { stores: [{ name: 'acme', pem: 'nothing' }] }],
    [
      'a certificate that is junk',
      { stores: [{ name: 'acme', pem: ROOT.certificate.toString('pem').replace('MII', 'AAA') }] },
    ],
    ['an identity that is none', { identities: ['O=acme'] }],
  ])('stalls on a policy with %s', async (_, policy) => {
    await expect(verdictOf({}, trusting(ROOT, policy))).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'SpecInvalid',
    });
  });
});
