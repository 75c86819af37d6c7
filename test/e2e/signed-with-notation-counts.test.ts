import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyNotation } from '#core/oci/verify/notation.ts';
import type { NotationTrust } from '#core/oci/verify/verdict.ts';
import { openSigning, signingRegistries, type Signing } from './signing.ts';
import { command, findProgram } from './tools.ts';

const START_MS = 600_000;
const notation = (await findProgram('notation')) ?? '';

for (const kind of await signingRegistries()) {
  describe.skipIf(kind.path === undefined || notation === '')(`at ${kind.name}`, () => {
    let signing: Signing;
    const certificates = new Map<string, string>();
    const run = (...args: string[]) => command(notation, args, { cwd: signing.dir });
    // The default writes the tag even where there is the API; olareg then lists neither, not to notation either.
    const sign = (name: string, digest: string, ...more: string[]) =>
      run('sign', '--insecure-registry', ...referrers(), `--key=${name}`, ...more, signing.reference(digest));
    const referrers = () => (signing.hasReferrersApi ? ['--force-referrers-tag=false'] : []);
    const trust = (name: string, more: Partial<NotationTrust> = {}): NotationTrust => ({
      level: 'strict',
      stores: [{ name, pem: certificates.get(name) ?? '' }],
      identities: ['*'],
      ...more,
    });

    beforeAll(async () => {
      signing = await openSigning(kind);
      for (const name of ['release.example.com', 'stranger.example.com']) {
        await run('cert', 'generate-test', name);
        const file = join(signing.dir, '.config/notation/localkeys', `${name}.crt`);
        certificates.set(name, await readFile(file, 'utf8'));
      }
    }, START_MS);
    afterAll(() => signing?.close());

    it('counts for the trust store its certificate is in, on the artifact it was made for', async () => {
      const digest = await signing.artifact();
      await sign('release.example.com', digest);
      expect(await verifyNotation(signing.context(digest), trust('release.example.com'))).toMatchObject({
        type: 'verified',
        signers: [{ format: 'notation', digest, name: expect.stringContaining('CN=release.example.com') }],
      });
      expect(await verifyNotation(signing.context(digest), trust('stranger.example.com'))).toMatchObject({
        type: 'refused',
        message: expect.stringContaining('in none of the trust stores'),
      });
      const another = await signing.artifact();
      const missing = await verifyNotation(signing.context(another), trust('release.example.com'));
      expect(missing).toMatchObject({ type: 'missing' });
    });

    it('counts for the identities that are trusted only', async () => {
      const digest = await signing.artifact();
      await sign('release.example.com', digest);
      const named = 'C=US, ST=WA, L=Seattle, O=Notary';
      for (const [organization, type] of [
        [named, 'verified'],
        [named.replace('Notary', 'Other'), 'refused'],
      ]) {
        const identities = [`x509.subject: ${organization}`];
        const verdict = await verifyNotation(signing.context(digest), trust('release.example.com', { identities }));
        expect(verdict).toMatchObject({ type });
      }
    });

    it('counts beside one of a stranger', async () => {
      const digest = await signing.artifact();
      await sign('stranger.example.com', digest);
      await sign('release.example.com', digest);
      const verdict = await verifyNotation(signing.context(digest), trust('release.example.com'));
      expect(verdict).toMatchObject({ type: 'verified' });
    });

    it('counts until it expires', async () => {
      const digest = await signing.artifact();
      await sign('release.example.com', digest, '--expiry=1h');
      const context = signing.context(digest);
      expect(await verifyNotation(context, trust('release.example.com'))).toMatchObject({ type: 'verified' });
      const later = { ...context, now: new Date(Date.now() + 2 * 3_600_000) };
      expect(await verifyNotation(later, trust('release.example.com'))).toMatchObject({ type: 'refused' });
    });

    it('as COSE is refused with what to do', async () => {
      const digest = await signing.artifact();
      await sign('release.example.com', digest, '--signature-format=cose');
      expect(await verifyNotation(signing.context(digest), trust('release.example.com'))).toMatchObject({
        type: 'refused',
        message: expect.stringContaining('--signature-format jws'),
      });
    });
  });
}
