import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { readBlob, readManifest } from './content.ts';
import { parseImageManifest } from './manifest.ts';
import { attest, signArtifact } from './sign.ts';
import { createKeyPair, publicKeyOf, readSigningKey, signBytes } from './sign-key.ts';
import { makeKeys, NOW, REPOSITORY, Shelf } from './verify/cosign.fixture.ts';
import { hintOf } from './verify/cosign-key.ts';

const SIGNAL = AbortSignal.timeout(20_000);
const PASSWORD = 'correct horse';

describe('the keys people sign with', () => {
  it.each(['p256', 'p384', 'ed25519'] as const)('make a pair of %s that signs and verifies', async (kind) => {
    const pair = await createKeyPair({ kind });
    const key = await readSigningKey(pair.privateKey);
    const signature = signBytes(key, Buffer.from('bytes'));
    const hash = { p256: 'sha256', p384: 'sha384', ed25519: null }[kind];
    expect(verify(hash, Buffer.from('bytes'), createPublicKey(pair.publicKey), signature)).toBe(true);
  });

  it('are closed as cosign does it when there is a password, and open with that password only', async () => {
    const pair = await createKeyPair({ password: PASSWORD });
    expect(pair.privateKey).toMatch(/^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n/);
    const key = await readSigningKey(pair.privateKey, PASSWORD);
    expect(publicKeyOf(key)).toBe(pair.publicKey);
    const failed = await readSigningKey(pair.privateKey, 'wrong').catch((error: unknown) => error);
    expect(failed).toMatchObject({ reason: 'SpecInvalid', message: expect.stringMatching(/password is another/) });
    expect(String(failed)).not.toContain('wrong');
  });

  it('may be encrypted PKCS #8', async () => {
    const { privateKey } = makeKeys();
    const options = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: PASSWORD } as const;
    const pem = privateKey.export(options).toString();
    expect(publicKeyOf(await readSigningKey(pem, PASSWORD))).toBe(publicKeyOf(privateKey));
    await expect(readSigningKey(pem)).rejects.toMatchObject({ message: expect.stringMatching(/no password/) });
    await expect(readSigningKey(pem, 'wrong')).rejects.toMatchObject({ reason: 'SpecInvalid' });
  });

  it.each([
    ['no PEM', 'hello'],
    ['a public key', makeKeys().pem],
    ['RSA', makeKeys('rsa').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()],
    ['P-521', makeKeys('p521').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()],
    ['an exchange key', generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()],
    [
      'a box of cosign that asks for too much memory',
      `-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n${Buffer.from(
        JSON.stringify({
          kdf: { name: 'scrypt', params: { N: 2 ** 30, r: 8, p: 1 }, salt: 'AAAA' },
          cipher: { name: 'nacl/secretbox', nonce: 'AAAA' },
          ciphertext: 'AAAA',
        }),
      ).toString('base64')}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n`,
    ],
  ])('are refused when they are %s', async (_, pem) => {
    await expect(readSigningKey(pem, PASSWORD)).rejects.toMatchObject({ kind: 'stalled', reason: 'SpecInvalid' });
  });
});

/** The manifest and the bundle of the one referrer. */
async function attached(shelf: Shelf, digest: string) {
  const [referrer] = await shelf.referrers(undefined, digest);
  const { bytes } = await readManifest(shelf, REPOSITORY, referrer!, SIGNAL);
  const manifest = parseImageManifest(bytes, 'it');
  const json = await readBlob(shelf, REPOSITORY, manifest.layers[0]!, 65_536, SIGNAL);
  const bundle: { dsseEnvelope: { payload: string } } = JSON.parse(json.toString());
  const payload: unknown = JSON.parse(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString());
  return { raw: JSON.parse(bytes.toString()), bundle, payload };
}

describe('a signature', () => {
  it('is the referrer that cosign 3 writes', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const { privateKey } = makeKeys();
    const annotations = { 'build.id': '7' };
    await signArtifact(shelf, { repository: REPOSITORY, digest, key: privateKey, annotations, now: NOW }, SIGNAL);
    const { raw, bundle, payload } = await attached(shelf, digest);
    const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    expect(raw).toEqual({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType: type,
      config: {
        mediaType: 'application/vnd.oci.empty.v1+json',
        digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
        size: 2,
      },
      layers: [{ mediaType: type, digest: expect.stringMatching(/^sha256:/), size: expect.any(Number) }],
      subject: { ...(await shelf.resolve(undefined, digest)) },
      annotations: {
        'org.opencontainers.image.created': '2026-06-01T12:00:00Z',
        'dev.sigstore.bundle.content': 'dsse-envelope',
        'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1',
      },
    });
    expect(bundle).toMatchObject({
      mediaType: type,
      verificationMaterial: { publicKey: { hint: hintOf(createPublicKey(privateKey)) } },
      dsseEnvelope: { payloadType: 'application/vnd.in-toto+json', signatures: [{ sig: expect.any(String) }] },
    });
    expect(payload).toEqual({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { sha256: digest.slice('sha256:'.length) }, annotations }],
      predicateType: 'https://sigstore.dev/cosign/sign/v1',
      predicate: {},
    });
  });

  it('is of what exists only', async () => {
    const request = { repository: REPOSITORY, digest: `sha256:${'0'.repeat(64)}`, key: makeKeys().privateKey };
    await expect(signArtifact(new Shelf(), request, SIGNAL)).rejects.toMatchObject({ reason: 'SourceNotFound' });
  });
});

describe('an attestation', () => {
  it('states the predicate it is given', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const said = { predicateType: 'https://plumbline.dev/run/v1', predicate: { result: 'applied' } };
    await attest(shelf, { repository: REPOSITORY, digest, key: makeKeys().privateKey, ...said }, SIGNAL);
    const { raw, payload } = await attached(shelf, digest);
    expect(payload).toMatchObject(said);
    expect(raw).toMatchObject({ annotations: { 'dev.sigstore.bundle.predicateType': said.predicateType } });
  });
});
