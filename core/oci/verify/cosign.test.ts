import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { transient } from '#core/domain/errors.ts';
import { signArtifact } from '../sign.ts';
import { verifyCosign } from './cosign.ts';
import {
  keyBundle,
  legacyLayer,
  makeKeys,
  pemOf,
  REPOSITORY,
  Shelf,
  simpleSigning,
  statement,
  trusting,
} from './cosign.fixture.ts';

const keys = makeKeys();
const others = makeKeys();

function verify(shelf: Shelf, digest: string, policy = trusting(keys.pem)) {
  return verifyCosign(shelf.context(digest), policy);
}

/** A shelf with an artifact. */
function set() {
  const shelf = new Shelf();
  return { shelf, digest: shelf.artifact() };
}

describe('a signature by a key', () => {
  it.each(['p256', 'p384', 'ed25519'] as const)('counts as a bundle that we attached with %s', async (kind) => {
    const { shelf, digest } = set();
    const { privateKey, pem } = makeKeys(kind);
    await signArtifact(shelf, { repository: REPOSITORY, digest, key: privateKey }, AbortSignal.timeout(5_000));
    expect(await verify(shelf, digest, trusting(pem))).toEqual({
      type: 'verified',
      signers: [{ format: 'cosign-bundle', name: 'key release-key', digest, statement: 'artifact' }],
    });
  });

  it.each(['p256', 'p384', 'p521', 'ed25519', 'rsa'] as const)('counts in the legacy format with %s', async (kind) => {
    const { shelf, digest } = set();
    const { privateKey, pem } = makeKeys(kind);
    const payload = simpleSigning(digest);
    const signature = sign(kind === 'ed25519' ? null : 'sha256', payload, privateKey).toString('base64');
    shelf.legacy(digest, [{ bytes: payload, annotations: { 'dev.cosignproject.cosign/signature': signature } }]);
    const verdict = await verify(shelf, digest, trusting(pem));
    expect(verdict).toMatchObject({
      type: 'verified',
      signers: [{ format: 'cosign-legacy', name: 'key release-key' }],
    });
  });

  it('counts as a bundle over the manifest itself', async () => {
    const { shelf, digest } = set();
    const manifest = await shelf.fetch(undefined, await shelf.resolve(undefined, digest));
    const chunks: Uint8Array[] = [];
    for await (const chunk of manifest) chunks.push(chunk);
    const signature = sign('sha256', Buffer.concat(chunks), keys.privateKey).toString('base64');
    const messageDigest = { algorithm: 'SHA2_256', digest: Buffer.from(digest.slice(7), 'hex').toString('base64') };
    const { mediaType, verificationMaterial } = keyBundle({}, keys.privateKey);
    shelf.attach(digest, { mediaType, verificationMaterial, messageSignature: { messageDigest, signature } });
    expect((await verify(shelf, digest)).type).toBe('verified');
  });

  it('counts when any one of several keys made it', async () => {
    const { shelf, digest } = set();
    shelf.attach(digest, keyBundle(statement({ digest }), keys.privateKey));
    const policy = trusting(undefined, {
      keys: [
        { name: 'old', pem: others.pem },
        { name: 'new', pem: keys.pem },
      ],
    });
    expect(await verify(shelf, digest, policy)).toMatchObject({ signers: [{ name: 'key new' }] });
  });

  it('counts among others that do not, and whatever else is attached', async () => {
    const { shelf, digest } = set();
    shelf.attach(digest, Buffer.from('no bundle'), { artifactType: 'application/spdx+json' });
    shelf.attach(digest, keyBundle(statement({ digest }), others.privateKey));
    shelf.attach(digest, keyBundle(statement({ digest }), keys.privateKey));
    expect((await verify(shelf, digest)).type).toBe('verified');
  });

  it('takes the digest of a legacy payload under any spelling of its name', async () => {
    const { shelf, digest } = set();
    const payload = simpleSigning(digest, { image: { 'Docker-manifest-digest': digest } });
    shelf.legacy(digest, [legacyLayer(payload, keys.privateKey)]);
    expect((await verify(shelf, digest)).type).toBe('verified');
  });
});

describe('what is no signature of the artifact', () => {
  it('is missing when nothing is attached', async () => {
    const { shelf, digest } = set();
    expect(await verify(shelf, digest)).toMatchObject({ type: 'missing', message: expect.stringContaining(digest) });
  });

  it('is a provenance by the same signer', async () => {
    const { shelf, digest } = set();
    const content = statement({ digest, predicateType: 'https://slsa.dev/provenance/v1' });
    shelf.attach(digest, keyBundle(content, keys.privateKey));
    expect(await verify(shelf, digest)).toMatchObject({
      type: 'missing',
      message: expect.stringMatching(/only 1 statement/),
    });
  });

  it('is a signature of another artifact that was attached to this one', async () => {
    const { shelf, digest } = set();
    const other = shelf.artifact('another');
    shelf.attach(digest, keyBundle(statement({ digest: other }), keys.privateKey));
    shelf.legacy(digest, [legacyLayer(simpleSigning(other), keys.privateKey)]);
    const verdict = await verify(shelf, digest);
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringContaining('another artifact') });
    expect(verdict).toMatchObject({ message: expect.stringContaining(other) });
  });

  it('is a signature of the whole by somebody else', async () => {
    const { shelf, digest } = set();
    shelf.attach(digest, keyBundle(statement({ digest }), others.privateKey));
    expect(await verify(shelf, digest)).toMatchObject({
      type: 'refused',
      message: expect.stringMatching(/another key/),
    });
  });

  it('is one whose hint names our key and whose payload was changed', async () => {
    const { shelf, digest } = set();
    const bundle = keyBundle(statement({ digest: shelf.artifact('another') }), keys.privateKey);
    bundle.dsseEnvelope.payload = Buffer.from(JSON.stringify(statement({ digest }))).toString('base64');
    shelf.attach(digest, bundle);
    expect(await verify(shelf, digest)).toMatchObject({
      type: 'refused',
      message: expect.stringMatching(/does not hold/),
    });
  });

  it('is a legacy payload that was changed', async () => {
    const { shelf, digest } = set();
    const layer = legacyLayer(simpleSigning(shelf.artifact('another')), keys.privateKey);
    shelf.legacy(digest, [{ ...layer, bytes: simpleSigning(digest) }]);
    expect((await verify(shelf, digest)).type).toBe('refused');
  });

  it.each([
    ['of another type', { type: 'atomic container signature' }],
    ['without a digest', { image: {} }],
    ['with two digests', { image: { 'docker-manifest-digest': 'sha256:0', 'Docker-Manifest-Digest': 'sha256:1' } }],
  ])('is a signed legacy payload %s', async (_, changes) => {
    const { shelf, digest } = set();
    shelf.legacy(digest, [legacyLayer(simpleSigning(digest, changes), keys.privateKey)]);
    expect((await verify(shelf, digest)).type).toBe('refused');
  });

  it('is a statement of another kind of envelope', async () => {
    const { shelf, digest } = set();
    const bundle = keyBundle(statement({ digest }), keys.privateKey);
    bundle.dsseEnvelope.payloadType = 'text/plain';
    shelf.attach(digest, bundle);
    expect((await verify(shelf, digest)).type).toBe('refused');
  });
});

describe('hostile attachments', () => {
  it('refuses a bundle whose layer has other bytes than its digest', async () => {
    const { shelf, digest } = set();
    const good = Buffer.from(JSON.stringify(keyBundle(statement({ digest }), keys.privateKey)));
    const layer = shelf.put(Buffer.alloc(good.byteLength, 32), 'application/vnd.dev.sigstore.bundle.v0.3+json');
    shelf.corrupt(layer.digest, good);
    shelf.attach(digest, '', { layers: [layer] });
    expect(await verify(shelf, digest)).toMatchObject({
      type: 'refused',
      message: expect.stringContaining(layer.digest),
    });
  });

  it('reads no bundle that is larger than 1 MiB', async () => {
    const { shelf, digest } = set();
    shelf.attach(digest, { ...keyBundle(statement({ digest }), keys.privateKey), padding: 'x'.repeat(1024 * 1024) });
    const before = shelf.fetched;
    expect(await verify(shelf, digest)).toMatchObject({
      type: 'refused',
      message: expect.stringMatching(/more than the allowed/),
    });
    expect(shelf.fetched - before).toBe(1);
  });

  it('refuses a manifest of two bundles, and JSON that is nested without end', async () => {
    const { shelf, digest } = set();
    const good = shelf.put(Buffer.from('{}'), 'application/vnd.dev.sigstore.bundle.v0.3+json');
    shelf.attach(digest, '', { layers: [good, good] });
    shelf.attach(digest, Buffer.from('['.repeat(400_000)));
    const verdict = await verify(shelf, digest);
    expect(verdict).toMatchObject({
      type: 'refused',
      message: expect.stringMatching(/2 layers.*no valid Sigstore bundle/),
    });
  });

  it('looks at 50 of 1,000 referrers and finds the signature that says what it is', async () => {
    const { shelf, digest } = set();
    shelf.dangle(digest, 1_000);
    expect(await verify(shelf, digest)).toMatchObject({ type: 'refused', message: expect.stringMatching(/950 more/) });
    expect(shelf.fetched).toBe(50);
    const annotations = { 'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1' };
    shelf.attach(digest, keyBundle(statement({ digest }), keys.privateKey), { annotations });
    expect((await verify(shelf, digest)).type).toBe('verified');
  });

  it('does not let a signature choose its algorithm: the text of a public key is no HMAC key', async () => {
    const { shelf, digest } = set();
    const bundle = keyBundle(statement({ digest }), others.privateKey);
    const sigs = [randomBytes(32), Buffer.alloc(64), Buffer.from('3006020100020100', 'hex')];
    for (const sig of sigs) {
      shelf.attach(digest, {
        ...bundle,
        dsseEnvelope: { ...bundle.dsseEnvelope, signatures: [{ sig: sig.toString('base64') }] },
      });
    }
    expect((await verify(shelf, digest)).type).toBe('refused');
  });

  it.each([
    ['an object', '{"Payload":{"logIndex":{"toString":1,"valueOf":1}}}'],
    ['lists without end', `{"Payload":{"integratedTime":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`],
  ])('finds the signature beside one whose log entry has %s where a number belongs', async (_, entry) => {
    const { shelf, digest } = set();
    const annotations = { 'dev.sigstore.cosign/bundle': entry };
    shelf.legacy(digest, [
      legacyLayer(simpleSigning(digest), others.privateKey, annotations),
      legacyLayer(simpleSigning(digest), keys.privateKey),
    ]);
    expect((await verify(shelf, digest)).type).toBe('verified');
  });

  it('takes no signature among several in one envelope', async () => {
    const { shelf, digest } = set();
    const bundle = keyBundle(statement({ digest }), keys.privateKey);
    const [signature] = bundle.dsseEnvelope.signatures;
    const signatures = [signature, signature];
    shelf.attach(digest, { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, signatures } });
    expect((await verify(shelf, digest)).type).toBe('refused');
  });

  it('prints nothing of what a stranger wrote that could forge a line', async () => {
    const { shelf, digest } = set();
    const content = statement({ digest: 'sha256:\u001b[2J\nverified: all good' });
    shelf.attach(digest, keyBundle(content, others.privateKey));
    const verdict = await verify(shelf, digest);
    expect(verdict.type === 'refused' && /\p{C}/u.test(verdict.message)).toBe(false);
  });

  it('passes on that the registry is away, rather than call the signature missing', async () => {
    const { shelf, digest } = set();
    const away = transient('SourceUnreachable', 'it is away');
    const source = { ...shelf.context(digest).source, referrers: () => Promise.reject(away) };
    await expect(verifyCosign({ ...shelf.context(digest), source }, trusting(keys.pem))).rejects.toBe(away);
  });
});

describe('a policy', () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey;
  const koblitz = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey;

  it.each([
    ['that names nobody', trusting(undefined)],
    ['with a private key', trusting(keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())],
    ['with no key in its secret', trusting('hello')],
    ['with a weak RSA key', trusting(pemOf(weak))],
    ['with a curve nobody asked for', trusting(pemOf(koblitz))],
    ['that requires a log and has no root', trusting(keys.pem, { requireLog: true })],
    ['with identities and no root', trusting(undefined, { identities: [{ issuer: 'a', subject: 'b' }] })],
    ['with an identity without issuer', trusting(undefined, { identities: [{ subject: 'b' }] })],
    ['with an identity without subject', trusting(undefined, { identities: [{ issuer: 'a' }] })],
    ['with an empty identity', trusting(undefined, { identities: [{}] })],
    ['with an empty pattern', trusting(undefined, { identities: [{ issuer: 'a', subjectPattern: '' }] })],
    ['with both', trusting(undefined, { identities: [{ issuer: 'a', issuerPattern: 'a', subject: 'b' }] })],
    ['with a broken pattern', trusting(undefined, { identities: [{ issuer: 'a', subjectPattern: '(' }] })],
  ])('%s stalls instead of trusting anybody', async (_, policy) => {
    const { shelf, digest } = set();
    await expect(verify(shelf, digest, policy)).rejects.toMatchObject({ kind: 'stalled', reason: 'SpecInvalid' });
  });
});
