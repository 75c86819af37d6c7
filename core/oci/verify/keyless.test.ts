import { beforeAll, describe, expect, it } from 'vitest';
import { verifyCosign } from './cosign.ts';
import { keyBundle, makeKeys, Shelf, simpleSigning, statement, trusting } from './cosign.fixture.ts';
import { createSigstore, type KeylessOptions } from './keyless.fixture.ts';
import type { CosignTrust, Identity } from './verdict.ts';

const SUBJECT = 'https://github.com/acme/shop/.github/workflows/release.yml@refs/tags/v1';
const ISSUER = 'https://token.actions.githubusercontent.com';
const EXACT: Identity = { subject: SUBJECT, issuer: ISSUER };
const ANYONE_AT_ACME: Identity = { subjectPattern: 'https://github.com/acme/.*', issuer: ISSUER };

let sigstore: Awaited<ReturnType<typeof createSigstore>>;
beforeAll(async () => {
  sigstore = await createSigstore();
});

function policy(identities: Identity[], changes: Partial<CosignTrust> = {}): CosignTrust {
  return trusting(undefined, { identities, trustedRoot: sigstore.root, ...changes });
}

/** The verdict on an artifact with one bundle. */
async function judge(
  identities: Identity[],
  options: KeylessOptions = {},
  change: (bundle: object) => object = (it) => it,
) {
  const shelf = new Shelf();
  const digest = shelf.artifact();
  shelf.attach(digest, change(await sigstore.bundle(statement({ digest }), options)));
  return verifyCosign(shelf.context(digest), policy(identities));
}

describe('a signature by an identity', () => {
  it('counts when subject and issuer are exactly those asked for', async () => {
    const verdict = await judge([EXACT]);
    expect(verdict).toMatchObject({
      type: 'verified',
      signers: [{ format: 'cosign-bundle', name: `${SUBJECT} as issuer ${ISSUER}` }],
    });
  });

  it('counts when a pattern matches the whole', async () => {
    expect((await judge([ANYONE_AT_ACME])).type).toBe('verified');
  });

  it('counts when any one of several identities matches, issuer and subject from the same', async () => {
    const one = { subject: 'somebody@acme.example', issuer: 'https://accounts.example' };
    expect((await judge([one, EXACT])).type).toBe('verified');
    const mixed = [
      { subject: SUBJECT, issuer: 'https://accounts.example' },
      { subject: 'x', issuer: ISSUER },
    ];
    expect((await judge(mixed)).type).toBe('refused');
  });

  it('counts in the legacy format', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    shelf.legacy(digest, [await sigstore.legacy(simpleSigning(digest))]);
    const verdict = await verifyCosign(shelf.context(digest), policy([EXACT]));
    expect(verdict).toMatchObject({ type: 'verified', signers: [{ format: 'cosign-legacy' }] });
  });

  it('counts beside keys: either is enough', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    shelf.attach(digest, await sigstore.bundle(statement({ digest })));
    const keys = [{ name: 'release-key', pem: makeKeys().pem }];
    expect((await verifyCosign(shelf.context(digest), policy([EXACT], { keys }))).type).toBe('verified');
  });
});

describe('who is not the identity asked for', () => {
  it.each([
    ['a look-alike that holds the address', 'https://evil.example/https://github.com/acme/shop', ANYONE_AT_ACME],
    ['a longer name', `${SUBJECT}2`, EXACT],
    ['a name that begins the same', 'https://github.com/acme-evil/shop', ANYONE_AT_ACME],
    ['a line more', 'https://github.com/acme/shop\nhttps://evil.example', ANYONE_AT_ACME],
    ['what a dot could stand for', SUBJECT.replace('github.com', 'githubxcom'), EXACT],
    ['one side of an alternative', 'https://evil.example/b', { subjectPattern: 'a|b', issuer: ISSUER }],
  ])('refuses %s', async (_, subject, identity) => {
    const verdict = await judge([identity], { subject });
    expect(verdict).toMatchObject({
      type: 'refused',
      message: expect.stringMatching(/none of the identities|control char/),
    });
  });

  it.each(['https://token.actions.githubusercontent.com.evil.example', 'https://evil.example', ISSUER.toUpperCase()])(
    'refuses the issuer %s and says who signed',
    async (issuer) => {
      const verdict = await judge([EXACT], { issuer });
      expect(verdict).toMatchObject({ type: 'refused', message: expect.stringContaining(issuer) });
    },
  );
});

describe('a certificate', () => {
  it.each([
    ['counts by the time of a time stamp authority', true, 'verified'],
    ['does not count when nobody that is trusted says when', false, 'refused'],
  ])('%s', async (_, stamped, type) => {
    expect(await judge([EXACT], { stamped })).toMatchObject({ type });
  });

  it('does not count by the stamp of an authority of another Sigstore', async () => {
    const [stamped, other] = [await sigstore.bundle({}, { stamped: true }), await createSigstore()];
    const elsewhere = await other.bundle({}, { stamped: true });
    const timestamps = elsewhere.verificationMaterial.timestampVerificationData;
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const bundle = await sigstore.bundle(statement({ digest }), { stamped: true });
    for (const timestampVerificationData of [timestamps, stamped.verificationMaterial.timestampVerificationData]) {
      shelf.attach(digest, {
        ...bundle,
        verificationMaterial: { ...bundle.verificationMaterial, timestampVerificationData },
      });
    }
    expect((await verifyCosign(shelf.context(digest), policy([EXACT]))).type).toBe('refused');
  });

  it('that was over when the signature was logged does not count', async () => {
    const verdict = await judge([EXACT], { loggedAt: new Date(Date.now() + 60 * 60_000) });
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/not valid or expired/) });
  });

  it('of another Sigstore does not count', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    shelf.attach(digest, await (await createSigstore()).bundle(statement({ digest })));
    expect((await verifyCosign(shelf.context(digest), policy([EXACT]))).type).toBe('refused');
  });

  it('without an entry in the log does not count', async () => {
    const verdict = await judge([EXACT], {}, (bundle) => {
      const { verificationMaterial } = bundle as { verificationMaterial: object };
      return { ...bundle, verificationMaterial: { ...verificationMaterial, tlogEntries: [] } };
    });
    expect(verdict.type).toBe('refused');
  });

  it('does not carry over to another payload, nor does its log entry', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const bundle = await sigstore.bundle(statement({ digest: shelf.artifact('another') }));
    const payload = Buffer.from(JSON.stringify(statement({ digest }))).toString('base64');
    shelf.attach(digest, { ...bundle, dsseEnvelope: { ...bundle.dsseEnvelope, payload } });
    expect((await verifyCosign(shelf.context(digest), policy([EXACT]))).type).toBe('refused');
  });

  it('is no key: a policy of keys does not take it', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    shelf.attach(digest, await sigstore.bundle(statement({ digest })));
    const verdict = await verifyCosign(shelf.context(digest), trusting(makeKeys().pem));
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/with a certificate/) });
  });
});

describe('a key whose signatures must be logged', () => {
  it.each([
    ['counts with an entry', true, 'verified'],
    ['does not count without one', false, 'refused'],
  ])('%s', async (_, logged, type) => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const { privateKey, pem } = makeKeys();
    const bundle = keyBundle(statement({ digest }), privateKey);
    const entry = await sigstore.logged(bundle.dsseEnvelope, privateKey);
    const material = { ...bundle.verificationMaterial, tlogEntries: logged ? [entry] : [] };
    shelf.attach(digest, { ...bundle, verificationMaterial: material });
    const trust = trusting(pem, { requireLog: true, trustedRoot: sigstore.root });
    expect(await verifyCosign(shelf.context(digest), trust)).toMatchObject({ type });
  });

  it('does not count with the entry of another signature', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const { privateKey, pem } = makeKeys();
    const bundle = keyBundle(statement({ digest }), privateKey);
    const other = keyBundle(statement({ digest }), privateKey);
    const entry = await sigstore.logged(other.dsseEnvelope, privateKey);
    const material = { ...bundle.verificationMaterial, tlogEntries: [entry] };
    shelf.attach(digest, { ...bundle, verificationMaterial: material });
    const trust = trusting(pem, { requireLog: true, trustedRoot: sigstore.root });
    expect((await verifyCosign(shelf.context(digest), trust)).type).toBe('refused');
  });
});
